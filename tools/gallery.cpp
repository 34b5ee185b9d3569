// gallery OUT_DIR: writes OUT_DIR/index.html, one page with the pictures and
// numbers of every run under OUT_DIR.
#include "io/gallery.hpp"

#include <CLI/CLI.hpp>
#include <filesystem>
#include <iostream>

#include "app/app.hpp"

int main(int argc, char** argv) {
    CLI::App app(
        "Writes OUT_DIR/index.html: the pictures and numbers of every "
        "run under OUT_DIR.",
        "gallery");
    std::filesystem::path out = "out";
    app.add_option("OUT_DIR", out, "the folder that holds the run folders")->capture_default_str();
    return diffusion::run_app(app, argc, argv, [&] {
        diffusion::write_gallery(out);
        std::cout << "gallery: open " << std::filesystem::absolute(out / "index.html").string()
                  << "\n";
    });
}
