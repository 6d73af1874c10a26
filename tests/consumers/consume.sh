#!/bin/sh
# consume.sh WAY SOURCE_DIR WORK_DIR: uses a copy of the library in one way, and runs what came out.
# CMAKE, CTEST, CXX, GIT, PKG_CONFIG name the tools, VERSION the version that the library must have.
set -eu
way=$1
source_dir=$2
work_dir=$3

skip() {
    echo "skipped: $1"
    exit 77
}

fail() {
    echo "failed: $1"
    exit 1
}

fresh_copy() {
    mkdir -p "$work_dir/library"
    for entry in include tests examples CMakeLists.txt LICENSE; do
        cp -R "$source_dir/$entry" "$work_dir/library/"
    done
    cp -R "$source_dir/tests/consumers" "$work_dir/consumers"
    chmod -R u+w "$work_dir"
}

# A commit of the working tree as it is, by nobody in particular, whatever git is configured to.
as_repository() {
    [ -n "$GIT" ] || skip "git is not installed"
    export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1
    unset GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE
    "$GIT" init --quiet "$1"
    "$GIT" -C "$1" symbolic-ref HEAD refs/heads/main
    "$GIT" -C "$1" add --all
    "$GIT" -C "$1" -c user.name=nobody -c user.email=nobody@example.invalid commit --quiet -m "as it is"
}

# Builds the consumer project in $1 with the CMake options that follow, and runs its one test: none of the library's.
build_and_test() {
    project=$1
    shift
    "$CMAKE" -S "$project" -B "$work_dir/build" "$@"
    "$CMAKE" --build "$work_dir/build"
    output=$("$CTEST" --test-dir "$work_dir/build" --output-on-failure) || fail "$output"
    echo "$output"
    case $output in
    *"100% tests passed, 0 tests failed out of 1"*) ;;
    *) fail "the consumer has one test, and only that is to run" ;;
    esac
}

install_library() {
    "$CMAKE" -S "$work_dir/library" -B "$work_dir/build-library" \
        -DSINCPRO_ASYNC_WORKER_BUILD_TESTS=OFF -DSINCPRO_ASYNC_WORKER_BUILD_EXAMPLES=OFF \
        -DSINCPRO_ASYNC_WORKER_INSTALL_COMPILED="${1-OFF}" -DCMAKE_INSTALL_PREFIX="$work_dir/nowhere"
    "$CMAKE" --build "$work_dir/build-library"
    "$CMAKE" --install "$work_dir/build-library" --prefix "$work_dir/first"
    mv "$work_dir/first" "$work_dir/prefix" # what is installed may be moved
    rm -rf "$work_dir/library" "$work_dir/build-library"
    extra=$(cd "$work_dir/prefix" && find . -type f |
        grep -vE '^\./(include/sincpro/.*\.[ch]pp|share/(cmake/|pkgconfig/|doc/.*/LICENSE).*)$' |
        grep -vE '^\./lib(/[^/]+)?/(libsincpro_async_worker_compiled\.a|(cmake|pkgconfig)/sincpro_async_worker.*)$') || true
    [ -z "$extra" ] || fail "installed, but neither header, licence nor package file: $extra"
    [ -n "$(find "$work_dir/prefix/share/doc" -name LICENSE)" ] || fail "the licence is not installed"
}

rm -rf "$work_dir"
fresh_copy
export CXXFLAGS="${CXXFLAGS-} -Wall -Wextra -Werror"
case $way in
plain)
    # shellcheck disable=SC2086 # flags are words
    "$CXX" $CXXFLAGS -std=c++20 -I "$work_dir/library/include" "$work_dir/consumers/main.cpp" -o "$work_dir/consumer" -pthread
    "$work_dir/consumer"
    ;;
plain_compiled)
    # shellcheck disable=SC2086
    "$CXX" $CXXFLAGS -std=c++20 -DSINCPRO_ASYNC_WORKER_COMPILED -I "$work_dir/library/include" \
        "$work_dir/consumers/main.cpp" "$work_dir/library/include/sincpro/async_worker.cpp" -o "$work_dir/consumer" -pthread
    "$work_dir/consumer"
    ;;
mixed) # each way has an inline namespace of its own: both work, and what is passed from one to the other does not link
    # shellcheck disable=SC2086
    {
        "$CXX" $CXXFLAGS -std=c++20 -I "$work_dir/library/include" -c "$work_dir/consumers/mixed_main.cpp" -o "$work_dir/main.o"
        "$CXX" $CXXFLAGS -std=c++20 -I "$work_dir/library/include" -c -DSINCPRO_ASYNC_WORKER_COMPILED \
            "$work_dir/consumers/mixed_other.cpp" -o "$work_dir/other.o"
        "$CXX" $CXXFLAGS -std=c++20 -I "$work_dir/library/include" -c \
            "$work_dir/library/include/sincpro/async_worker.cpp" -o "$work_dir/library.o"
        "$CXX" $CXXFLAGS "$work_dir/main.o" "$work_dir/other.o" "$work_dir/library.o" -o "$work_dir/consumer" -pthread
        "$work_dir/consumer"
        "$CXX" $CXXFLAGS -std=c++20 -I "$work_dir/library/include" -c -DPASS_A_TASK \
            "$work_dir/consumers/mixed_main.cpp" -o "$work_dir/passes.o"
        if "$CXX" $CXXFLAGS "$work_dir/passes.o" "$work_dir/other.o" "$work_dir/library.o" -o "$work_dir/consumer" -pthread \
            2>"$work_dir/errors"; then
            fail "a task of the one way was passed to the other, and it linked"
        fi
    }
    grep -q takes_a_task "$work_dir/errors" || fail "it does not link for another reason: $(cat "$work_dir/errors")"
    ;;
old_standard) # one line says what is needed
    echo '#include <sincpro/async_worker.hpp>' >"$work_dir/old.cpp"
    if "$CXX" -std=c++17 -I "$work_dir/library/include" -fsyntax-only "$work_dir/old.cpp" 2>"$work_dir/errors"; then
        fail "C++17 was accepted"
    fi
    [ "$(grep -c ': error: ' "$work_dir/errors")" = 1 ] || fail "more than one error: $(head -5 "$work_dir/errors")"
    grep -q 'compile with -std=c++20' "$work_dir/errors" || fail "the error does not say what to do"
    ;;
add_subdirectory)
    as_repository "$work_dir/library"
    as_repository "$work_dir/consumers"
    "$GIT" -C "$work_dir/consumers" -c protocol.file.allow=always \
        submodule --quiet add "$work_dir/library" add_subdirectory/third_party/async_worker
    rm -rf "$work_dir/library"
    build_and_test "$work_dir/consumers/add_subdirectory"
    build_and_test "$work_dir/consumers/add_subdirectory" -DSINCPRO_ASYNC_WORKER_SINGLE_HEADER=ON
    build_and_test "$work_dir/consumers/add_subdirectory" -DSINCPRO_ASYNC_WORKER_SINGLE_HEADER=OFF -DCOMPILED=ON
    ;;
fetch_content)
    as_repository "$work_dir/library"
    build_and_test "$work_dir/consumers/fetch_content" -DLIBRARY_REPOSITORY="$work_dir/library"
    ;;
find_package)
    install_library ON
    build_and_test "$work_dir/consumers/find_package" -DWANTED_VERSION="$VERSION" -DCMAKE_PREFIX_PATH="$work_dir/prefix"
    build_and_test "$work_dir/consumers/find_package" -DWANTED_VERSION="$VERSION" -DCMAKE_PREFIX_PATH="$work_dir/prefix" \
        -DCOMPILED=ON
    if "$CMAKE" -S "$work_dir/consumers/find_package" -B "$work_dir/build-next" \
        -DWANTED_VERSION=$((${VERSION%%.*} + 1)) -DCMAKE_PREFIX_PATH="$work_dir/prefix" >/dev/null 2>&1; then
        fail "the next major version was asked for, and this one was found"
    fi
    ;;
pkg_config)
    [ -n "$PKG_CONFIG" ] || skip "pkg-config is not installed"
    install_library ON
    PKG_CONFIG_PATH=$work_dir/prefix/share/pkgconfig:$(dirname "$(find "$work_dir/prefix/lib" -name '*_compiled.pc')")
    export PKG_CONFIG_PATH
    for package in sincpro_async_worker sincpro_async_worker_compiled; do
        found=$("$PKG_CONFIG" --modversion "$package")
        [ "$found" = "$VERSION" ] || fail "pkg-config says version $found, not $VERSION"
        # shellcheck disable=SC2046,SC2086 # flags are words
        "$CXX" $CXXFLAGS -std=c++20 "$work_dir/consumers/main.cpp" -o "$work_dir/consumer" \
            $("$PKG_CONFIG" --cflags --libs "$package")
        "$work_dir/consumer"
    done
    ;;
*)
    fail "unknown way: $way"
    ;;
esac
rm -rf "$work_dir"
