# launch/cmake/aarch64.cmake - toolchain for a 64-bit ARM client, built on another machine with Debian's cross compiler
# (gcc-aarch64-linux-gnu). The libraries come from a folder that tests/interop/aarch64_sysroot.sh fills:
#
#   tests/interop/aarch64_sysroot.sh build/aarch64-sysroot
#   cmake -S . -B build/aarch64 -G Ninja -DCMAKE_TOOLCHAIN_FILE=launch/cmake/aarch64.cmake \
#       -DLMB_SYSROOT=$PWD/build/aarch64-sysroot -DLMB_CLIENT_ONLY=ON -DLMB_STATIC=ON -DLMB_ZSTD=OFF
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_TRY_COMPILE_PLATFORM_VARIABLES LMB_SYSROOT)
set(ENV{PKG_CONFIG_LIBDIR} ${LMB_SYSROOT}/usr/lib/aarch64-linux-gnu/pkgconfig)
set(ENV{PKG_CONFIG_SYSROOT_DIR} ${LMB_SYSROOT})
set(ENV{PKG_CONFIG_ALLOW_SYSTEM_LIBS} 1) # these are not this machine's
set(ENV{PKG_CONFIG_ALLOW_SYSTEM_CFLAGS} 1)
