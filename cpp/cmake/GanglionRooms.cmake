# The rooms of cpp/src, as targets. A room is a folder, an OBJECT library, and an include folder that offers this one
# folder and nothing else. A room finds the headers of the rooms that it KNOWS and of those that they know; an include
# of any other does not compile. tests/python/house/test_walls.py reads the same rules off the #include lines.

# What installed headers need: every room may know it, and so may whoever uses the library.
add_library(ganglion_room_public INTERFACE)
target_include_directories(ganglion_room_public INTERFACE
  "${PROJECT_SOURCE_DIR}/cpp/include" "${PROJECT_BINARY_DIR}/include")

# The rooms that the control loop runs through. errno of a square root would be a write per step; nothing reads it. With
# exceptions: what sets a loop up must let go of what it has when memory is short.
set(GANGLION_LOOP_FLAGS -fno-rtti -fno-math-errno)
if(NOT GANGLION_SANITIZE AND NOT CMAKE_BUILD_TYPE STREQUAL "Debug")
  list(APPEND GANGLION_LOOP_FLAGS -O3)
endif()

function(ganglion_room_target folder variable)
  string(REPLACE "/" "_" name "ganglion_room_${folder}")
  set(${variable} "${name}" PARENT_SCOPE)
endfunction()

# ganglion_room(<folder of cpp/src> SOURCES <files> [AT_LOAD <files>] [FLAGS <options>] [HEADERS <files>] [KNOWS <rooms>])
# AT_LOAD: what runs once, at load, and is built to be small, not fast: a target of its own, ganglion_room_<folder>_at_load,
# so that CMAKE_UNITY_BUILD, which leaves out files with options, compiles it together.
# HEADERS: all that others see of a room that has rooms inside it, each of which is entered by its own name.
function(ganglion_room folder)
  cmake_parse_arguments(PARSE_ARGV 1 room "" "" "SOURCES;AT_LOAD;FLAGS;KNOWS;HEADERS")
  set(small "$<$<CONFIG:Release,RelWithDebInfo>:-Os>")
  if(GANGLION_SANITIZE AND NOT GANGLION_SANITIZE MATCHES "fuzzer")
    set(small "")  # as all that is sanitized
  endif()
  if(NOT room_SOURCES)  # one target is enough, and CMake takes none without files
    set(room_SOURCES ${room_AT_LOAD})
    list(APPEND room_FLAGS "${small}")
    set(room_AT_LOAD "")
  endif()
  ganglion_room_target("${folder}" target)
  add_library(${target} OBJECT ${room_SOURCES})
  ganglion_room_part(${target} ${room_FLAGS})
  set(offered "${PROJECT_BINARY_DIR}/rooms/${target}")
  # What an older configuration offered must not stay visible.
  file(REMOVE_RECURSE "${offered}")
  if(room_HEADERS)
    file(MAKE_DIRECTORY "${offered}/${folder}")
    foreach(header IN LISTS room_HEADERS)
      file(CREATE_LINK "${CMAKE_CURRENT_SOURCE_DIR}/${header}" "${offered}/${folder}/${header}" SYMBOLIC)
    endforeach()
  else()
    cmake_path(GET folder PARENT_PATH above)
    file(MAKE_DIRECTORY "${offered}/${above}")
    file(CREATE_LINK "${CMAKE_CURRENT_SOURCE_DIR}" "${offered}/${folder}" SYMBOLIC)
  endif()
  target_include_directories(${target} PUBLIC "${offered}")
  foreach(other IN LISTS room_KNOWS)
    ganglion_room_target("${other}" known)
    target_link_libraries(${target} PUBLIC ${known})
  endforeach()
  if(room_AT_LOAD)
    add_library(${target}_at_load OBJECT ${room_AT_LOAD})
    target_link_libraries(${target}_at_load PRIVATE ${target})
    ganglion_room_part(${target}_at_load ${room_FLAGS} "${small}")
  endif()
endfunction()

# What both parts of a room are: objects of the library, built with the options.
function(ganglion_room_part target)
  target_compile_features(${target} PUBLIC cxx_std_20)
  # Hidden: who links us into a shared library of his own shows none of our names.
  set_target_properties(${target} PROPERTIES POSITION_INDEPENDENT_CODE ON CXX_VISIBILITY_PRESET hidden
    VISIBILITY_INLINES_HIDDEN ON)
  ganglion_own_target(${target})
  target_compile_options(${target} PRIVATE ${ARGN})
  set_property(GLOBAL APPEND PROPERTY GANGLION_ROOMS "$<TARGET_OBJECTS:${target}>")
endfunction()

# Lets a target, mostly a test, include what rooms offer; their objects are in the library that it links.
function(ganglion_look_into target)
  foreach(folder IN LISTS ARGN)
    ganglion_room_target("${folder}" room)
    target_include_directories(${target} PRIVATE "$<TARGET_PROPERTY:${room},INTERFACE_INCLUDE_DIRECTORIES>")
  endforeach()
endfunction()
