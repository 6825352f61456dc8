# What `cmake --install --component cpp` installs, and what CPack makes a .deb of.
#
# GANGLION_STANDALONE leaves out the C++20 interface: a compiled one belongs to the C++ library of the compiler that made
# it. What is left asks for the C library alone.

set(ganglion_targets ganglion_c)
if(NOT GANGLION_STANDALONE)
  list(APPEND ganglion_targets ganglion)
  if(TARGET ganglion_libtorch)
    list(APPEND ganglion_targets ganglion_libtorch)
  endif()
  install(DIRECTORY cpp/include/ganglion "${PROJECT_BINARY_DIR}/include/ganglion"
    DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}" COMPONENT cpp FILES_MATCHING PATTERN "*.hpp")
endif()
install(TARGETS ${ganglion_targets} EXPORT ganglion-targets COMPONENT cpp)
install(FILES cpp/include/ganglion.h cpp/include/ganglion.hpp DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}" COMPONENT cpp)
configure_file(cpp/cmake/ganglion.pc.in "${PROJECT_BINARY_DIR}/ganglion.pc" @ONLY)
install(FILES "${PROJECT_BINARY_DIR}/ganglion.pc" DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig" COMPONENT cpp)
set(ganglion_config_dir "${CMAKE_INSTALL_LIBDIR}/cmake/ganglion")
install(EXPORT ganglion-targets NAMESPACE ganglion:: DESTINATION "${ganglion_config_dir}" COMPONENT cpp)
configure_package_config_file(cpp/cmake/ganglion-config.cmake.in
  "${PROJECT_BINARY_DIR}/ganglion-config.cmake" INSTALL_DESTINATION "${ganglion_config_dir}")
write_basic_package_version_file("${PROJECT_BINARY_DIR}/ganglion-config-version.cmake" COMPATIBILITY SameMinorVersion)
install(FILES "${PROJECT_BINARY_DIR}/ganglion-config.cmake" "${PROJECT_BINARY_DIR}/ganglion-config-version.cmake"
  DESTINATION "${ganglion_config_dir}" COMPONENT cpp)
install(FILES LICENSE DESTINATION "${CMAKE_INSTALL_DOCDIR}" COMPONENT cpp)

# Licences of others and the bill of materials, made by packages/notices.py.
if(GANGLION_NOTICES)
  cmake_path(ABSOLUTE_PATH GANGLION_NOTICES BASE_DIRECTORY "${PROJECT_SOURCE_DIR}")
  install(DIRECTORY "${GANGLION_NOTICES}/cpp/" DESTINATION "${CMAKE_INSTALL_DOCDIR}" COMPONENT cpp)
  if(SKBUILD)
    install(DIRECTORY "${GANGLION_NOTICES}/python/" DESTINATION "${SKBUILD_METADATA_DIR}" COMPONENT python)
  endif()
endif()

if(GANGLION_STANDALONE)
  install(TARGETS ganglion_standalone EXPORT ganglion-targets COMPONENT cpp)
  install(FILES export_examples/12_minimal_embed.c DESTINATION "${CMAKE_INSTALL_DOCDIR}/examples" COMPONENT cpp)
  install(FILES LICENSE DESTINATION "${CMAKE_INSTALL_DOCDIR}" RENAME copyright COMPONENT cpp)
  set(CPACK_GENERATOR DEB)
  set(CPACK_PACKAGE_NAME ganglion)
  set(CPACK_PACKAGE_VENDOR "the ganglion authors")
  set(CPACK_PACKAGE_CONTACT "the ganglion authors <ganglion@example.invalid>")
  set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "Recurrent robot policies in a control loop: library, headers and tools")
  set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
  set(CPACK_INSTALL_CMAKE_PROJECTS "${PROJECT_BINARY_DIR};ganglion;cpp;/")
  set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
  set(CPACK_DEBIAN_PACKAGE_SECTION libdevel)
  set(CPACK_DEBIAN_PACKAGE_DEPENDS "libc6 (>= 2.28)")
  set(CPACK_DEBIAN_PACKAGE_ARCHITECTURE amd64)
  if(CMAKE_SYSTEM_PROCESSOR STREQUAL "aarch64")
    set(CPACK_DEBIAN_PACKAGE_ARCHITECTURE arm64)
  endif()
  include(CPack)
endif()
