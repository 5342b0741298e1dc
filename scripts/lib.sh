# For the scripts beside it, which source it. Not run by itself.

# Stops with what happened, the detail, and what to do.
stop() {
    printf '%s: %s\n    %s\n    %s\n' "$(basename "$0")" "$1" "$2" "$3" >&2
    exit 2
}

# Where cargo puts what it builds.
target_folder() {
    cargo metadata --format-version 1 --no-deps --offline | sed 's/.*"target_directory":"\([^"]*\)".*/\1/'
}

# The program that lends a private Postgres to a command; built if nobody did so before.
with_postgres() {
    local program="${WITH_POSTGRES:-}"
    if [ -z "$program" ]; then
        cargo build --quiet --package testkit --bin with-postgres
        program="$(target_folder)/debug/with-postgres"
    fi
    "$program" "$@"
}
