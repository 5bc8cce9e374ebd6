include(${CMAKE_CURRENT_LIST_DIR}/QualmDependencies.cmake)
include(${CMAKE_CURRENT_LIST_DIR}/qualmTargets.cmake)
