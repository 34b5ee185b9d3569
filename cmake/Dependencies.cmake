# The libraries we use, each as a target with system headers: diffusion::eigen, cli11, json, doctest, stb, zlib.
# What the system has is taken; what it lacks is downloaded, checked against its SHA-256, and kept in the build folder.
include(FetchContent)
set(FETCHCONTENT_QUIET ON)

# need_headers(name HEADER file URL archive-or-header SHA256 hash [INCLUDE folder of the headers in the archive]
#              [SUFFIX folder under the system's include folders])
function(need_headers name)
    cmake_parse_arguments(PARSE_ARGV 1 arg "" "HEADER;URL;SHA256;INCLUDE;SUFFIX" "")
    find_path(DIFFUSION_${name}_INCLUDE ${arg_HEADER} PATH_SUFFIXES ${arg_SUFFIX})
    mark_as_advanced(DIFFUSION_${name}_INCLUDE)
    set(include ${DIFFUSION_${name}_INCLUDE})
    if(NOT include)
        message(STATUS "${arg_HEADER} is not installed: downloading ${arg_URL}")
        # SOURCE_SUBDIR names a folder that does not exist: unpack only, run none of the archive's own CMake code.
        FetchContent_Declare(diffusion_${name} URL ${arg_URL} URL_HASH SHA256=${arg_SHA256} SOURCE_SUBDIR none
                             DOWNLOAD_EXTRACT_TIMESTAMP ON)
        FetchContent_MakeAvailable(diffusion_${name})
        set(include ${diffusion_${name}_SOURCE_DIR}/${arg_INCLUDE})
    endif()
    add_library(diffusion::${name} INTERFACE IMPORTED GLOBAL)
    target_include_directories(diffusion::${name} SYSTEM INTERFACE ${include})
endfunction()

need_headers(eigen HEADER Eigen/Core SUFFIX eigen3
    URL https://gitlab.com/libeigen/eigen/-/archive/3.4.0/eigen-3.4.0.tar.gz
    SHA256 8586084f71f9bde545ee7fa6d00288b264a2b7ac3607b974e54d13e7162c1c72)
# By itself Eigen shares out a product to the threads, and the number of threads would change the last bits.
target_compile_definitions(diffusion::eigen INTERFACE EIGEN_DONT_PARALLELIZE)
need_headers(cli11 HEADER CLI/CLI.hpp INCLUDE include
    URL https://github.com/CLIUtils/CLI11/archive/refs/tags/v2.3.2.tar.gz
    SHA256 aac0ab42108131ac5d3344a9db0fdf25c4db652296641955720a4fbe52334e22)
need_headers(json HEADER nlohmann/json.hpp INCLUDE include
    URL https://github.com/nlohmann/json/releases/download/v3.11.3/json.tar.xz
    SHA256 d6c65aca6b1ed68e7a182f4757257b107ae403032760ed6ef121c9d55e81757d)
if(DIFFUSION_PROGRAMS AND DIFFUSION_TESTS)
    need_headers(doctest HEADER doctest/doctest.h
        URL https://github.com/doctest/doctest/archive/refs/tags/v2.4.11.tar.gz
        SHA256 632ed2c05a7f53fa961381497bf8069093f0d6628c5f26286161fbd32a560186)
endif()

# stb has no releases: two headers at one commit, in a folder stb/ as the system's package has them.
find_path(DIFFUSION_stb_INCLUDE stb/stb_image_write.h)
mark_as_advanced(DIFFUSION_stb_INCLUDE)
set(include ${DIFFUSION_stb_INCLUDE})
if(NOT include)
    message(STATUS "stb/stb_image.h is not installed: downloading it")
    set(url https://raw.githubusercontent.com/nothings/stb/f58f558c120e9b32c217290b80bad1a0729fbb2c)
    set(include ${PROJECT_BINARY_DIR}/_deps)
    file(DOWNLOAD ${url}/stb_image.h ${include}/stb/stb_image.h TIMEOUT 60
         EXPECTED_HASH SHA256=594c2fe35d49488b4382dbfaec8f98366defca819d916ac95becf3e75f4200b3)
    file(DOWNLOAD ${url}/stb_image_write.h ${include}/stb/stb_image_write.h TIMEOUT 60
         EXPECTED_HASH SHA256=cbd5f0ad7a9cf4468affb36354a1d2338034f2c12473cf1a8e32053cb6914a05)
endif()
add_library(diffusion::stb INTERFACE IMPORTED GLOBAL)
target_include_directories(diffusion::stb SYSTEM INTERFACE ${include})

find_package(ZLIB)
add_library(diffusion::zlib INTERFACE IMPORTED GLOBAL)
if(ZLIB_FOUND)
    target_link_libraries(diffusion::zlib INTERFACE ZLIB::ZLIB)
else()
    message(STATUS "zlib is not installed: downloading it")
    enable_language(C)
    FetchContent_Declare(diffusion_zlib URL https://github.com/madler/zlib/releases/download/v1.3.1/zlib-1.3.1.tar.gz
        URL_HASH SHA256=9a93b2b7dfdac77ceba5a558a580e74667dd6fede4585b91eefb60f03b72df23 SOURCE_SUBDIR none
        DOWNLOAD_EXTRACT_TIMESTAMP ON)
    FetchContent_MakeAvailable(diffusion_zlib)
    file(GLOB zlib_sources ${diffusion_zlib_SOURCE_DIR}/*.c)
    add_library(diffusion_zlib STATIC ${zlib_sources})
    target_compile_definitions(diffusion_zlib PRIVATE HAVE_UNISTD_H)
    target_include_directories(diffusion_zlib SYSTEM PUBLIC ${diffusion_zlib_SOURCE_DIR})
    target_link_libraries(diffusion::zlib INTERFACE diffusion_zlib)
endif()
