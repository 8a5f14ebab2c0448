# SPDX-License-Identifier: Apache-2.0
# bash completion for varve(1): nouns, verbs, options, and the pools, snapshots, images and containers
# that there are.
#
# Names are any bytes. They are read NUL-separated, never expanded by the shell, and quoted when
# they are offered; names that hold a control character are not offered.

_varve_pool_verbs="create ls inspect rm drivers"
_varve_snapshot_verbs="prepare view commit capture mounts mount umount stat ls tree diff package send receive haves transfers usage label rm"
_varve_image_verbs="ls inspect history import pull push unpack commit export tag rm prune"
_varve_container_verbs="ls rm prune"
_varve_volume_verbs="create ls inspect snapshot fork set release import haves send receive pull replicate push backups mount umount rm"
_varve_system_verbs="info cleanup"
_varve_run_options="--name --rm --tty --env --env-file --volume --workdir --user --entrypoint --hostname
    --network --read-only --memory --cpus --pids-limit --cap-add --cap-drop --seccomp --new-privileges --label
    --runtime --platform --pull"

# Offers those of the words given that begin with what was typed.
_varve_words() {
    local word
    for word; do
        [[ $word == "$cur"* ]] && COMPREPLY+=("$word ")
    done
}

# Offers the names that a command of varve prints. Readline takes a name's part before the last ":"
# or "=" for words of their own, so that is left out of the answer.
_varve_names() {
    local name skip=""
    [[ $COMP_WORDBREAKS == *:* && $cur == *:* ]] && skip=${cur%"${cur##*:}"}
    while IFS= read -r -d '' name; do
        [[ $name == "$cur"* && $name != *[[:cntrl:]]* ]] || continue
        name=${name#"$skip"}
        COMPREPLY+=("$(printf '%q' "$name") ")
    done < <("${varve[@]}" "$@" -0 2>/dev/null)
}

_varve_directories() {
    local name
    while IFS= read -r name; do
        COMPREPLY+=("$(printf '%q' "$name")/")
    done < <(compgen -d -- "$cur")
}

_varve_files() {
    local name
    while IFS= read -r name; do
        [[ -d $name ]] && COMPREPLY+=("$(printf '%q' "$name")/") || COMPREPLY+=("$(printf '%q' "$name") ")
    done < <(compgen -f -- "$cur")
}

# What may stand at this place, by noun, verb and the number of arguments before it.
_varve_arguments() {
    case "$noun $verb $count" in
    "  0") _varve_words run pool snapshot image container volume system help ;;
    "pool  0") _varve_words $_varve_pool_verbs ;;
    "snapshot  0") _varve_words $_varve_snapshot_verbs ;;
    "image  0") _varve_words $_varve_image_verbs ;;
    "container  0") _varve_words $_varve_container_verbs ;;
    "volume  0") _varve_words $_varve_volume_verbs ;;
    "system  0") _varve_words $_varve_system_verbs ;;
    "pool inspect 0" | "pool rm 0") _varve_names pool ls ;;
    "snapshot prepare 1" | "snapshot view 1") _varve_names snapshot ls kind==committed ;;
    "snapshot commit 1" | "snapshot capture 1") _varve_names snapshot ls kind==active ;;
    "snapshot mounts 0" | "snapshot mount 0") _varve_names snapshot ls kind==active kind==view ;;
    "snapshot stat 0" | "snapshot diff 0" | "snapshot package 0" | "snapshot send 0" | "snapshot haves 0" | "image commit 0" | "snapshot label 0") _varve_names snapshot ls ;;
    "snapshot transfers "*) _varve_names snapshot transfers ;;
    "snapshot rm "* | "snapshot usage "*) _varve_names snapshot ls ;;
    "image inspect 0" | "image history 0" | "image unpack 0" | "image tag 0" | "image push 0") _varve_names image ls ;;
    "image export "* | "image rm "* | "image pull 0") _varve_names image ls ;;
    "image import 0") _varve_files ;;
    "run  0") _varve_names image ls ;;
    "container rm "*) _varve_names container ls ;;
    "volume snapshot 0" | "volume replicate 0" | "volume receive 0") _varve_names volume ls --volumes ;;
    "volume fork 0" | "volume send 0" | "volume push 0") _varve_names volume ls --snapshots ;;
    "volume inspect 0" | "volume haves 0" | "volume set 0" | "volume release 0" | "volume mount 0" | "volume umount 0" | "volume rm "*) _varve_names volume ls ;;
    "volume import 0") _varve_files ;;
    "volume mount 1" | "volume umount 1") _varve_directories ;;
    "snapshot mount 1" | "snapshot umount 0") _varve_directories ;;
    esac
}

_varve_options() {
    local options="--root --pool --json --help"
    case "$noun $verb" in
    " ") options+=" --version" ;;
    "pool create") options+=" --driver --set" ;;
    "pool ls") options+=" --quiet --null" ;;
    "snapshot prepare" | "snapshot view") options+=" --label --mount" ;;
    "snapshot commit") options+=" --label --parent" ;;
    "snapshot capture") options+=" --label" ;;
    "snapshot ls") options+=" --full --quiet --null" ;;
    "snapshot tree") options+=" --full --usage" ;;
    "snapshot diff") options+=" --summary --quiet --null" ;;
    "snapshot package") options+=" --output --compression" ;;
    "snapshot send" | "volume send")
        options+=" --base --haves-from --accept --format --compression --resume"
        ;;
    "snapshot receive") options+=" --label --keep" ;;
    "snapshot transfers") options+=" --token --forget --quiet --null" ;;
    "volume receive") options+=" --keep" ;;
    "snapshot usage") options+=" --full" ;;
    "image ls") options+=" --full --quiet --null" ;;
    "image inspect") options+=" --platform --raw" ;;
    "image unpack") options+=" --platform --progress" ;;
    "image pull") options+=" --unpack --name --platform --all-platforms --mirror" ;;&
    "image push") options+=" --platform" ;;&
    "image pull" | "image push")
        options+=" --creds --password-file --auth-file --plain-http --ca --certs --jobs --retries --progress"
        ;;
    "image history") options+=" --platform --full" ;;
    "image import") options+=" --name --only" ;;
    "image commit") options+=" --from --author --message --change --compression" ;;
    "image export") options+=" --output --format --platform" ;;
    "container ls") options+=" --full --quiet --null" ;;
    "container rm") options+=" --force" ;;
    "volume create" | "volume fork") options+=" --meta --type --size --no-mount" ;;
    "volume set") options+=" --meta --unset" ;;
    "volume import") options+=" --meta --type --no-mount" ;;
    "volume snapshot") options+=" --meta --no-mount --freeze" ;;
    "volume ls") options+=" --meta --type --of --volumes --snapshots --full --quiet --null" ;;
    "volume pull") options+=" --snapshot --config --to --no-volume --no-mount --mirror" ;;&
    "volume push") options+=" --full --force" ;;&
    "volume backups") options+=" --full --quiet --null --mirror" ;;&
    "volume pull" | "volume push" | "volume backups")
        options+=" --creds --password-file --auth-file --plain-http --ca --certs --retries --progress"
        ;;
    "volume replicate") options+=" --keep --config" ;;
    "volume haves") options+=" --quiet --null" ;;
    "volume mount" | "volume umount") options+=" --all" ;;
    "volume rm") options+=" --recursive --only" ;;
    "run ") options+=" $_varve_run_options" ;;
    esac
    _varve_words $options
}

# The values of the option before the cursor; fails when it takes none.
_varve_values() {
    case "$noun $previous" in
    "run --env" | "run -e" | "run --workdir" | "run -w" | "run --user" | "run -u" | "run --memory" | "run -m") return ;;
    "run --entrypoint" | "run --hostname" | "run --cpus" | "run --pids-limit" | "run --cap-"*) return ;;
    "run --env-file" | "run --volume" | "run -v") _varve_files && return ;;
    "volume --meta" | "volume -m" | "volume --type" | "volume -t" | "volume --size" | "volume --unset") return ;;
    "volume --of") _varve_names volume ls --volumes && return ;;
    "run --network") _varve_words none host && return ;;
    "run --runtime") _varve_words runc crun && return ;;
    esac
    case $previous in
    --root | --mount | -m | --certs) _varve_directories ;;
    --pool) _varve_names pool ls ;;
    --driver) _varve_words auto overlay btrfs native ;;
    --set | --name | -n | --only | --author | -a | --message | --change | -c) COMPREPLY=() ;;
    --creds | --mirror | --jobs | -j | --retries) COMPREPLY=() ;;
    --from) _varve_names image ls ;;
    --compression) _varve_words gzip zstd none ;;
    --output | -o | --password-file | --auth-file | --ca | --config | --haves-from) _varve_files ;;
    --accept | --resume) COMPREPLY=() ;;
    --format | -f) _varve_words oci dir docker ;;
    --platform) _varve_words linux/amd64 linux/arm64 linux/arm/v7 ;;
    --pull) _varve_words missing always never ;;
    --label | -l) COMPREPLY=() ;;
    --parent | -p) _varve_names snapshot ls kind==committed ;;
    *) return 1 ;;
    esac
}

_varve() {
    # COMP_WORDS is split at ":" and "=", which names may hold: the line is read again at blanks.
    local line=${COMP_LINE:0:COMP_POINT} words word previous="" cur=""
    local noun="" verb="" count=0
    local -a varve=("${COMP_WORDS[0]}")
    read -ra words <<<"$line"
    [[ $line == *[[:space:]] ]] || {
        cur=${words[-1]}
        unset 'words[-1]'
    }
    for word in "${words[@]:1}"; do
        case $previous in
        --root | --pool) varve+=("$previous" "$word") ;;
        --driver | --set | --mount | -m | --label | -l | --parent | -p) ;;
        --name | -n | --only | --output | -o | --format | -f | --platform) ;;
        --creds | --password-file | --auth-file | --ca | --certs | --mirror | --jobs | -j | --retries) ;;
        --from | --author | -a | --message | --change | -c | --compression) ;;
        --env | -e | --env-file | --volume | -v | --workdir | -w | --user | -u | --entrypoint) ;;
        --meta | --type | --size | --of | --config) ;;
        --base | -b | --haves-from | --accept | --resume) ;;
        --hostname | --network | --memory | --cpus | --pids-limit | --cap-add | --cap-drop | --seccomp | --runtime | --pull) ;;
        *)
            case $word in
            --root=* | --pool=*) varve+=("$word") ;;
            -*) ;;
            *)
                if [[ -z $noun && $word == help ]]; then
                    :
                elif [[ -z $noun ]]; then
                    noun=$word
                elif [[ -z $verb ]]; then
                    verb=$word
                else
                    ((++count))
                fi
                ;;
            esac
            previous=$word
            continue
            ;;
        esac
        previous=""
    done

    COMPREPLY=()
    _varve_values && return
    if [[ $cur == -* ]]; then
        _varve_options
    else
        _varve_arguments
    fi
}

complete -o nospace -F _varve varve
