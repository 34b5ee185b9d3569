// A table: read, written again, cut where a training resumes, continued.
#include "io/csv.hpp"

#include <cmath>

#include "fuzz/fuzz.hpp"

namespace diffusion::fuzz {
namespace {

bool same(const CsvTable& a, const CsvTable& b) {
    if (a.columns != b.columns || a.rows.size() != b.rows.size()) return false;
    for (std::size_t i = 0; i < a.rows.size(); ++i) {
        for (std::size_t k = 0; k < a.columns.size(); ++k) {
            const double x = a.rows[i][k], y = b.rows[i][k];
            if (x != y && !(std::isnan(x) && std::isnan(y))) return false;
        }
    }
    return true;
}

bool finite(const CsvTable& table) {
    for (const auto& row : table.rows)
        for (const double x : row)
            if (!std::isfinite(x)) return false;
    return true;
}

}  // namespace

std::vector<std::string> seeds() {
    return {"step,images,loss\n0,0,1\n100,6400,0.125\n200,12800,nan\n",
            "a\n1e-05\n-0\n1e+308\n4.9406564584124654e-324\n",
            "a,b\r\n1,2\r\n",
            "a,b\n1,2\n3",
            "a\n",
            "\n",
            "a,b\ninf,-inf\n0x10,1e400\n"};
}

void check(const std::string& input) {
    const auto path = folder() / "x.csv", again = folder() / "y.csv";
    const std::string where = path.string();
    put_text(path, input);
    CsvTable table;
    if (accepted(where, [&] { table = read_csv(path); })) {
        for (const auto& row : table.rows) must(row.size() == table.columns.size(), "full rows");
        if (accepted(again.string(), [&] { const CsvWriter anew(again, table.columns); })) {
            const bool written = accepted(again.string(), [&] {
                CsvWriter writer(again, table.columns, true);
                for (const auto& row : table.rows) writer.row(row);
            });
            must(written == finite(table), "what is not finite, and nothing else, is not written");
            must(!written || same(table, read_csv(again)), "written and read again");
        }
    }
    for (const double most : {100.0, 100.0, 0.0}) {
        if (!accepted(where, [&] { keep_csv_rows(path, 0, most); })) break;
        const std::string kept = get_text(path);
        must(kept.empty() || kept.back() == '\n', "whole lines");
        keep_csv_rows(path, 0, most);
        must(get_text(path) == kept, "nothing more to drop");
    }
    accepted(where, [&] { keep_csv_rows(path, 7, 100); });
    put_text(path, input);
    accepted(where, [&] {
        CsvWriter(path, {"step", "images", "loss"}, true).row({300, 19200, 0});
    });
}

}  // namespace diffusion::fuzz
