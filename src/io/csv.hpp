#pragma once
// Tables of numbers as CSV: a header line with the names of the columns, then one line per row.
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <span>
#include <string>
#include <vector>

namespace diffusion {

/// A log that grows by one row at a time. Each row is flushed, so that it can be plotted while the
/// program runs and is not lost when it is killed.
class CsvWriter {
public:
    /// Starts the file anew, or, with `append`, goes on with one that has the same columns (it may
    /// also be missing or empty). A last line that a kill left incomplete is dropped. Error if the
    /// file cannot be written or has other columns.
    CsvWriter(std::filesystem::path path, const std::vector<std::string>& columns,
              bool append = false);

    /// One number per column. Error if the count is wrong, a number is not finite or the disk is
    /// full.
    void row(std::initializer_list<double> values);
    void row(std::span<const double> values);

private:
    void write_line(const std::string& line);

    std::filesystem::path path_;
    std::vector<std::string> columns_;
    std::ofstream file_;
    std::string line_;  // of the row being written
};

/// The shortest digits that read back as the same double; whole numbers without an exponent: 60000,
/// 0.1, 1e-05, nan.
std::string shortest(double x);
void append_shortest(std::string& line, double x);

/// For a run that resumes at an earlier step than the log has reached: drops the rows whose number
/// in the column exceeds max_value, and a last line without its line end. A missing file is left
/// missing. Atomic.
void keep_csv_rows(const std::filesystem::path& path, int column_index, double max_value);

struct CsvTable {
    std::vector<std::string> columns;
    std::vector<std::vector<double>> rows;  ///< each as long as columns
};

/// Error, with the line number, for a field that is not a number or a row of another length.
CsvTable read_csv(const std::filesystem::path& path);

}  // namespace diffusion
