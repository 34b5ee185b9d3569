# Which architecture to build for, from nvidia-smi's list of the GPUs' compute capabilities ("9.0", one a line): the least, for
# code for it runs on the later ones of its generation, and PTX for it on all of them. Empty where the list has none.
function(least_architecture capabilities result)
    string(REGEX MATCHALL "[0-9]+\\.[0-9]+" all "${capabilities}")
    list(TRANSFORM all REPLACE "\\." "")
    list(SORT all COMPARE NATURAL)
    set(least "")
    if(all)
        list(GET all 0 least)
    endif()
    set(${result} "${least}" PARENT_SCOPE)
endfunction()
