# How our own code is compiled. Dependencies are system headers and keep their own warnings.
include(CheckCXXCompilerFlag)

# Warnings are a matter of this folder's targets, not of whoever links them.
set(warnings -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wdouble-promotion)
if(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
    # g++ leaves sign conversions out of -Wconversion; and a loop of a function that the library has no vector form of,
    # or in a sanitizer build, stays scalar by right.
    list(APPEND warnings -Wno-sign-conversion -Wno-pass-failed)
elseif(CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
    # g++ 12 warns of an overlapping copy inside std::string's operator+ (its bug 105651), and of uninitialised values
    # inside its own AVX-512 header when Eigen uses it (its bug 105593).
    list(APPEND warnings -Wno-restrict -Wno-uninitialized -Wno-maybe-uninitialized)
endif()
if(EXISTS ${PROJECT_SOURCE_DIR}/handout.json)  # what an open exercise leaves unused is no mistake
    list(APPEND warnings -Wno-unused-variable -Wno-unused-parameter -Wno-unused-function -Wno-unused-but-set-variable
         -Wno-unused-but-set-parameter)
    if(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
        list(APPEND warnings -Wno-unused-lambda-capture -Wno-unused-local-typedef)
    endif()
endif()
if(DIFFUSION_WERROR)
    list(APPEND warnings -Werror)
else()
    # {x} in place of a float, where x is a double: g++ warns, clang++ would refuse it.
    list(APPEND warnings -Wno-error=narrowing)
endif()
add_compile_options("$<$<COMPILE_LANGUAGE:CXX>:${warnings}>")
if(NOT PROJECT_IS_TOP_LEVEL)
    set(DIFFUSION_SYSTEM SYSTEM)  # another project's warnings stop at our headers
endif()

# diffusion_options: what all code that uses our headers must be compiled with, lest one inline function become two.
find_package(Threads REQUIRED)
add_library(diffusion_options INTERFACE)
target_compile_features(diffusion_options INTERFACE cxx_std_20)
target_link_libraries(diffusion_options INTERFACE Threads::Threads)

# The whole instruction set of this machine: SIMD width decides the speed of every kernel.
if(DIFFUSION_ARCH)
    check_cxx_compiler_flag(-march=${DIFFUSION_ARCH} DIFFUSION_HAS_MARCH_${DIFFUSION_ARCH})
    if(DIFFUSION_HAS_MARCH_${DIFFUSION_ARCH})
        target_compile_options(diffusion_options INTERFACE -march=${DIFFUSION_ARCH})
    else()
        check_cxx_compiler_flag(-mcpu=${DIFFUSION_ARCH} DIFFUSION_HAS_MCPU_${DIFFUSION_ARCH})
        if(DIFFUSION_HAS_MCPU_${DIFFUSION_ARCH})
            target_compile_options(diffusion_options INTERFACE -mcpu=${DIFFUSION_ARCH})
        else()
            message(WARNING "${CMAKE_CXX_COMPILER_ID} knows neither -march=${DIFFUSION_ARCH} nor -mcpu=${DIFFUSION_ARCH}: "
                            "built for a generic processor, several times slower than it could be")
        endif()
    endif()
endif()

if(DIFFUSION_SANITIZE)
    target_compile_options(diffusion_options INTERFACE -fsanitize=${DIFFUSION_SANITIZE} -fno-sanitize-recover=all
                           -fno-omit-frame-pointer)
    target_link_options(diffusion_options INTERFACE -fsanitize=${DIFFUSION_SANITIZE})
    if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
        # Instrumented code defeats g++'s flow analysis, which then warns of what cannot happen.
        target_compile_options(diffusion_options INTERFACE -Wno-maybe-uninitialized)
    endif()
endif()

# OpenMP: all cores. Homebrew keeps it outside the compiler's search path.
if(APPLE AND NOT OpenMP_ROOT)
    foreach(prefix /opt/homebrew/opt/libomp /usr/local/opt/libomp)
        if(EXISTS ${prefix})
            set(OpenMP_ROOT ${prefix})
        endif()
    endforeach()
endif()
find_package(OpenMP COMPONENTS CXX)
if(OpenMP_CXX_FOUND)
    target_link_libraries(diffusion_options INTERFACE OpenMP::OpenMP_CXX)
else()
    message(WARNING "OpenMP was not found: everything works, on ONE core. "
                    "Install libomp (macOS: brew install libomp; Debian with clang: apt-get install libomp-dev).")
    target_compile_options(diffusion_options INTERFACE -Wno-unknown-pragmas)
    check_cxx_compiler_flag(-fopenmp-simd DIFFUSION_HAS_OPENMP_SIMD)
    if(DIFFUSION_HAS_OPENMP_SIMD)
        target_compile_options(diffusion_options INTERFACE -fopenmp-simd)
    endif()
endif()
