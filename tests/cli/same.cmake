# Does a command print exactly what is in a file?   cmake -DFILE=f -P same.cmake -- COMMAND...
math(EXPR last "${CMAKE_ARGC} - 1")
set(command)
foreach(i RANGE 5 ${last}) # 0 to 4: cmake -DFILE=f -P same.cmake --
  list(APPEND command "${CMAKE_ARGV${i}}")
endforeach()
execute_process(COMMAND ${command} OUTPUT_VARIABLE printed RESULT_VARIABLE status)
file(READ ${FILE} kept)
if(NOT status EQUAL 0 OR NOT printed STREQUAL kept)
  string(REPLACE ";" " " command "${command}")
  message(FATAL_ERROR "${FILE} is out of date; make it anew: ${command} > ${FILE}")
endif()
