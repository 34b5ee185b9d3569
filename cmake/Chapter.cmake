# add_chapter(04_unet) turns the folder chapters/04_unet into
#   ch04     a library of all its .cpp files except main.cpp (headers alone are enough), and
#   04_unet  a program, if there is a main.cpp.
# Both link the chapters added before and src: the link graph is the table of contents.
set(DIFFUSION_CHAPTERS "")

function(add_chapter name)
    string(SUBSTRING ${name} 0 2 number)
    set(folder ${CMAKE_CURRENT_SOURCE_DIR}/chapters/${name})
    file(GLOB sources CONFIGURE_DEPENDS ${folder}/*.cpp)
    list(REMOVE_ITEM sources ${folder}/main.cpp)
    if(sources)
        add_library(ch${number} STATIC ${sources})
        target_link_libraries(ch${number} PUBLIC ${DIFFUSION_CHAPTERS} diffusion_src)
    else()
        add_library(ch${number} INTERFACE)
        target_link_libraries(ch${number} INTERFACE ${DIFFUSION_CHAPTERS} diffusion_src)
    endif()
    if(EXISTS ${folder}/main.cpp)
        add_executable(${name} ${folder}/main.cpp)
        target_link_libraries(${name} PRIVATE ch${number})
        target_compile_options(${name} PRIVATE ${DIFFUSION_LIGHT})
    endif()
    set(DIFFUSION_CHAPTERS ch${number} ${DIFFUSION_CHAPTERS} PARENT_SCOPE)  # latest first
endfunction()
