# SPDX-License-Identifier: Apache-2.0
"""Directory trees that change at random, and where files have holes."""

import os
import random
import shutil
import socket
import stat

ACL = bytes.fromhex(  # user::rw-, user:7:r--, group::r--, mask::r--, other::r--
    "02000000" "01000600ffffffff" "0200040007000000" "04000400ffffffff" "10000400ffffffff"
    "20000400ffffffff"
)  # fmt: skip
MIB = 1 << 20
BLOCK = 64 * 1024


def holes(root):
    """Which MiBs of each file are data: {path: [(begin, end)]}. File systems allocate in smaller
    pieces than that. What was allocated and not written counts as data if it was read since, so what
    was read is forgotten first."""
    return {
        os.path.join(".", os.path.relpath(path, root)): data_of(path)
        for path in paths(root)
        if stat.S_ISREG(os.lstat(path).st_mode)
    }


def data_of(path):
    found, end, size = [], 0, os.path.getsize(path)
    with open(path, "rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        while end < size:
            try:
                begin = os.lseek(file.fileno(), end, os.SEEK_DATA)
            except OSError:
                break  # only a hole is left
            end = os.lseek(file.fileno(), begin, os.SEEK_HOLE)
            found.append((begin // MIB, -(-end // MIB)))
    return found


def paths(root):
    return sorted(
        os.path.join(folder, name)
        for folder, folders, files in os.walk(root)
        for name in folders + files
    )


def directories(root):
    return sorted(folder for folder, _, _ in os.walk(root))


class Changes:
    """Random changes to a tree: each of them may come to nothing."""

    def __init__(self, root, seed):
        self.root, self.dice = root, random.Random(seed)

    def change(self, times):
        kinds = sorted(name for name in dir(self) if name.startswith("do_"))
        for _ in range(times):
            try:
                getattr(self, self.dice.choice(kinds))()
            except OSError:
                pass  # something is in the way, or is a directory, or is none

    def some(self, wanted=lambda mode: True):
        found = [path for path in paths(self.root) if wanted(os.lstat(path).st_mode)]
        return self.dice.choice(found) if found else os.path.join(self.root, "nothing")

    def file(self):
        return self.some(stat.S_ISREG)

    def new(self):
        name = self.dice.choice(["a", "b", "c", "a b", "a.", "ü", "-rf", "n" * 255, "new\nline"])
        return os.path.join(self.dice.choice(directories(self.root)), name)

    def do_make(self):
        with open(self.new(), "xb") as file:
            file.write(self.dice.randbytes(self.dice.randrange(9000)))

    do_make_another = do_make

    def do_make_directory(self):
        path = self.new()
        os.mkdir(path)
        for name in "xyz":
            with open(os.path.join(path, name), "xb") as file:
                file.write(name.encode())

    def do_make_sparse(self):
        with open(self.new(), "xb") as file:
            for _ in range(3):
                file.seek(self.dice.randrange(40) * BLOCK)
                file.write(self.dice.randbytes(BLOCK))
            file.truncate(self.dice.randrange(1, 50) * BLOCK)

    def do_make_symlink(self):
        os.symlink(self.dice.choice(["a", "/nowhere", "../x" * 40]), self.new())

    def do_make_special(self):
        kind = self.dice.choice([stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK])
        os.mknod(self.new(), kind | 0o640, os.makedev(1, 3))

    def do_make_socket(self):
        with socket.socket(socket.AF_UNIX) as server:
            path = self.new()
            if len(path.encode()) < 100:
                server.bind(path)

    def do_link(self):
        os.link(self.some(lambda mode: not stat.S_ISDIR(mode)), self.new(), follow_symlinks=False)

    do_link_more = do_link

    def do_remove(self):
        path = self.some()
        if stat.S_ISDIR(os.lstat(path).st_mode):
            shutil.rmtree(path)
        else:
            os.unlink(path)

    def do_rename(self):
        os.rename(self.some(), self.new())

    do_rename_more = do_rename

    def do_replace(self):
        path = self.some(lambda mode: not stat.S_ISDIR(mode))
        os.unlink(path)
        self.dice.choice([os.mkdir, lambda path: os.symlink("a", path), lambda path: os.mkfifo(path)])(path)  # fmt: skip

    def do_overwrite(self):
        with open(self.file(), "r+b") as file:
            file.seek(self.dice.randrange(9000))
            file.write(self.dice.randbytes(100))

    def do_overwrite_secretly(self):
        path = self.file()
        st = os.stat(path)
        with open(path, "r+b") as file:
            file.write(self.dice.randbytes(min(20, st.st_size)))
        os.utime(path, ns=(st.st_atime_ns, st.st_mtime_ns))

    def do_truncate(self):
        os.truncate(self.file(), self.dice.randrange(12000))

    def do_grow(self):
        os.truncate(self.file(), self.dice.randrange(1, 30) * BLOCK)

    def do_write_far(self):
        with open(self.file(), "r+b") as file:
            file.seek(self.dice.randrange(40) * BLOCK)
            file.write(self.dice.randbytes(BLOCK))

    def do_chmod(self):
        os.chmod(self.some(lambda mode: not stat.S_ISLNK(mode)), self.dice.randrange(0o10000))

    def do_chown(self):
        os.chown(self.some(), self.dice.randrange(3), self.dice.randrange(3), follow_symlinks=False)

    def do_times(self):
        os.utime(self.some(), ns=(1, self.dice.randrange(10**18)), follow_symlinks=False)

    def do_xattr(self):
        path = self.some()
        name = self.dice.choice(["user.one", "trusted.two"])
        if self.dice.random() < 0.3:
            os.removexattr(path, name, follow_symlinks=False)
        else:
            os.setxattr(path, name, self.dice.randbytes(self.dice.randrange(20)),
                        follow_symlinks=False)  # fmt: skip

    def do_acl(self):
        path = self.some(lambda mode: not stat.S_ISLNK(mode))
        os.setxattr(path, "system.posix_acl_access", ACL)

    def do_default_acl(self):
        os.setxattr(self.dice.choice(directories(self.root)), "system.posix_acl_default", ACL)

    def do_capability(self):
        os.setxattr(self.file(), "security.capability",
                    bytes.fromhex("0100000200040000000000000000000000000000"))  # fmt: skip
