# add_chapter(04_unet) turns the folder chapters/04_unet into
#   ch04     a library, also called diffusion::ch04, of all its .cpp files except main.cpp (headers alone are enough), and
#   04_unet  a program, if there is a main.cpp (and DIFFUSION_PROGRAMS).
# Both link the chapters added before and src: the link graph is the table of contents.
set(DIFFUSION_CHAPTERS "")

function(add_chapter name)
    string(SUBSTRING ${name} 0 2 number)
    set(folder ${CMAKE_CURRENT_SOURCE_DIR}/chapters/${name})
    file(GLOB sources CONFIGURE_DEPENDS ${folder}/*.cpp)
    list(REMOVE_ITEM sources ${folder}/main.cpp)
    if(sources)
        set(scope PUBLIC)
        add_library(ch${number} STATIC ${sources})
    else()
        set(scope INTERFACE)
        add_library(ch${number} INTERFACE)
    endif()
    target_include_directories(ch${number} ${DIFFUSION_SYSTEM} ${scope} ${CMAKE_CURRENT_SOURCE_DIR}/chapters)
    target_link_libraries(ch${number} ${scope} ${DIFFUSION_CHAPTERS} diffusion_src)
    add_library(diffusion::ch${number} ALIAS ch${number})
    if(DIFFUSION_PROGRAMS AND EXISTS ${folder}/main.cpp)
        add_executable(${name} ${folder}/main.cpp)
        target_link_libraries(${name} PRIVATE ch${number})
        target_compile_options(${name} PRIVATE ${DIFFUSION_LIGHT})
    endif()
    set(DIFFUSION_CHAPTERS ch${number} ${DIFFUSION_CHAPTERS} PARENT_SCOPE)  # latest first
endfunction()
