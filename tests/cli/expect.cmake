# Run a command in a directory of its own and check what a user sees:
#   cmake -DSTATUS=s [-DERROR=regex] [-DOUTPUT=regex] [-DABSENT=regex] [-DCONFIG=yaml] [-DDATA=csv]
#         [-DBEFORE=words] -DPROGRAM=p -DDIRECTORY=d -P expect.cmake -- COMMAND...
# The exit status is STATUS.  With ERROR stderr has exactly one line `mltfr_dist: error: ...`, which
# matches, and no other from the program; without it there is none.  stdout matches OUTPUT and
# does not match ABSENT.  CONFIG becomes c.yaml and DATA d.csv in the directory.  PROGRAM runs with
# the words of BEFORE first, and must succeed.
set(command)
set(own FALSE)
foreach(i RANGE ${CMAKE_ARGC})
  if(own AND i LESS CMAKE_ARGC)
    list(APPEND command "${CMAKE_ARGV${i}}")
  elseif("${CMAKE_ARGV${i}}" STREQUAL "--")
    set(own TRUE)
  endif()
endforeach()

file(REMOVE_RECURSE ${DIRECTORY})
file(MAKE_DIRECTORY ${DIRECTORY})
if(DEFINED CONFIG)
  file(WRITE ${DIRECTORY}/c.yaml "${CONFIG}")
endif()
if(DEFINED DATA)
  file(WRITE ${DIRECTORY}/d.csv "${DATA}")
endif()
if(DEFINED BEFORE)
  separate_arguments(BEFORE UNIX_COMMAND "${BEFORE}")
  execute_process(COMMAND ${PROGRAM} ${BEFORE} WORKING_DIRECTORY ${DIRECTORY}
    RESULT_VARIABLE status OUTPUT_VARIABLE ignored ERROR_VARIABLE stderr)
  if(NOT status EQUAL 0)
    message(FATAL_ERROR "before: ${BEFORE}: status ${status}\n${stderr}")
  endif()
endif()
execute_process(COMMAND ${command} WORKING_DIRECTORY ${DIRECTORY}
  RESULT_VARIABLE status OUTPUT_VARIABLE stdout ERROR_VARIABLE stderr)

set(faults)
if(NOT status STREQUAL STATUS)
  list(APPEND faults "status ${status}, expected ${STATUS}")
endif()
string(REPLACE ";" "," all "${stdout}\n${stderr}") # or a message would be two items of a list
string(REGEX MATCHALL "mltfr_dist: error: [^\n]*" errors "${all}")
list(LENGTH errors count)
if(DEFINED ERROR AND NOT (count EQUAL 1 AND "${errors}" MATCHES "${ERROR}"))
  list(APPEND faults "expected one error line that matches '${ERROR}', got ${count}")
elseif(NOT DEFINED ERROR AND NOT count EQUAL 0)
  list(APPEND faults "an error line")
endif()
if(DEFINED OUTPUT AND NOT "${stdout}" MATCHES "${OUTPUT}")
  list(APPEND faults "stdout does not match '${OUTPUT}'")
endif()
if(DEFINED ABSENT AND "${stdout}" MATCHES "${ABSENT}")
  list(APPEND faults "stdout matches '${ABSENT}'")
endif()
if(faults)
  list(JOIN faults "\n" faults)
  message(FATAL_ERROR "${command}\n${faults}\n-- stdout\n${stdout}\n-- stderr\n${stderr}")
endif()
