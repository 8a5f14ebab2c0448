// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"

	snapshotsapi "github.com/containerd/containerd/api/services/snapshots/v1"
	"github.com/containerd/containerd/errdefs"
	"github.com/containerd/containerd/mount"
	"github.com/containerd/containerd/snapshots"
)

// write puts files into a new active snapshot; key ends up mounted nowhere.
func write(t *testing.T, sn snapshots.Snapshotter, key, parent string, files map[string]string) {
	t.Helper()
	mounts, err := sn.Prepare(ctx, key, parent)
	must(t, err)
	mounted(t, mounts, func(dir string) {
		for name, text := range files {
			must(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0755))
			must(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0644))
		}
	})
}

// wantFiles checks the names and contents of all files in a directory.
func wantFiles(t *testing.T, dir string, want map[string]string) {
	t.Helper()
	got := map[string]string{}
	must(t, filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err != nil || !info.Mode().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		name, _ := filepath.Rel(dir, path)
		got[name] = string(text)
		return err
	}))
	if !equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// view mounts a view of a committed snapshot.
func view(t *testing.T, sn snapshots.Snapshotter, name string, check func(dir string)) {
	t.Helper()
	mounts, err := sn.View(ctx, "a view", name)
	must(t, err)
	mounted(t, mounts, check)
	must(t, sn.Remove(ctx, "a view"))
}

// Row S2: nothing can be written through a view's mounts, however many layers it has.
func TestViewIsReadOnly(t *testing.T) {
	eachDriver(t, func(t *testing.T, s *server, sn snapshots.Snapshotter) {
		write(t, sn, "key-1", "", map[string]string{"file": "1"})
		must(t, sn.Commit(ctx, "one", "key-1"))
		write(t, sn, "key-2", "one", map[string]string{"other": "2"})
		must(t, sn.Commit(ctx, "two", "key-2"))

		for _, parent := range []string{"", "one", "two"} {
			view(t, sn, parent, func(dir string) {
				for what, change := range map[string]func() error{
					"making a file":   func() error { return os.WriteFile(filepath.Join(dir, "new"), nil, 0644) },
					"making a folder": func() error { return os.Mkdir(filepath.Join(dir, "new"), 0755) },
					"changing mode":   func() error { return os.Chmod(dir, 0700) },
				} {
					if err := change(); !errors.Is(err, syscall.EROFS) {
						t.Errorf("%s in a view of %q: %v, want: %v", what, parent, err, syscall.EROFS)
					}
				}
			})
		}
		view(t, sn, "two", func(dir string) {
			wantFiles(t, dir, map[string]string{"file": "1", "other": "2"})
			if err := os.Remove(filepath.Join(dir, "file")); !errors.Is(err, syscall.EROFS) {
				t.Errorf("removing a file in a view: %v", err)
			}
		})
	})
}

// Row D1, D2: how each driver presents its snapshots to the kernel.
func TestMounts(t *testing.T) {
	eachDriver(t, func(t *testing.T, s *server, sn snapshots.Snapshotter) {
		commit(t, sn, "one", "")
		commit(t, sn, "two", "one")
		driver := s.pools[0].driver
		for _, c := range []struct {
			parent   string
			view     bool
			layered  bool // presented by overlay as an overlay, not as a bind mount
			readOnly bool
		}{
			{"", false, false, false},
			{"one", false, true, false},
			{"one", true, false, true},
			{"two", true, true, true},
		} {
			var mounts []mount.Mount
			var err error
			if key := fmt.Sprintf("%s-%v", c.parent, c.view); c.view {
				mounts, err = sn.View(ctx, key, c.parent)
			} else {
				mounts, err = sn.Prepare(ctx, key, c.parent)
			}
			must(t, err)
			checkMount(t, driver, c.layered, c.readOnly, mounts)
		}
	})
}

func checkMount(t *testing.T, driver string, layered, readOnly bool, mounts []mount.Mount) {
	t.Helper()
	if len(mounts) != 1 {
		t.Fatalf("%d mounts, want one: %v", len(mounts), mounts)
	}
	kind := map[string]string{"overlay": "bind", "native": "bind", "btrfs": "btrfs", "zfs": "zfs"}[driver]
	if driver == "overlay" && layered {
		kind = "overlay"
	}
	m := mounts[0]
	if m.Type != kind {
		t.Errorf("the type is %q, want %q: %v", m.Type, kind, m)
	}
	options := "," + strings.Join(m.Options, ",") + ","
	for option, want := range map[string]bool{
		",ro,":       readOnly && kind != "overlay",
		",rbind,":    kind == "bind",
		",subvolid=": kind == "btrfs",
		",lowerdir=": kind == "overlay",
		",upperdir=": kind == "overlay" && !readOnly,
		",workdir=":  kind == "overlay" && !readOnly,
	} {
		if got := strings.Contains(options, option); got != want && !(option == ",ro," && kind == "overlay") {
			t.Errorf("option %q: %v, want %v: %v", option, got, want, m)
		}
	}
}

// Row S4: a key's mounts are the same each time, after a restart too; and so is all else.
func TestRestart(t *testing.T) {
	eachDriver(t, func(t *testing.T, s *server, sn snapshots.Snapshotter) {
		write(t, sn, "key-1", "", map[string]string{"file": "1"})
		must(t, sn.Commit(ctx, "one", "key-1"))
		write(t, sn, "active", "one", map[string]string{"other": "2"})
		_, err := sn.View(ctx, "view", "one")
		must(t, err)
		before := map[string][]mount.Mount{}
		for _, key := range []string{"active", "view"} {
			before[key], err = sn.Mounts(ctx, key)
			must(t, err)
		}
		info, err := sn.Stat(ctx, "active")
		must(t, err)
		list := names(t, sn)

		must(t, s.stop())
		must(t, s.start(ctx))
		sn = s.sn("main")

		for key, mounts := range before {
			after, err := sn.Mounts(ctx, key)
			must(t, err)
			if !reflect.DeepEqual(mounts, after) {
				t.Errorf("mounts of %q: %v, want %v", key, after, mounts)
			}
		}
		after, err := sn.Stat(ctx, "active")
		must(t, err)
		if !reflect.DeepEqual(info, after) {
			t.Errorf("stat: %v, want %v", after, info)
		}
		if now := names(t, sn); !equal(list, now) {
			t.Errorf("list: %v, want %v", now, list)
		}
		mounted(t, before["active"], func(dir string) {
			wantFiles(t, dir, map[string]string{"file": "1", "other": "2"})
		})
	})
}

// Row S3: with a parent given at commit, a snapshot that was prepared on nothing goes on top of it.
func TestRebase(t *testing.T) {
	onlyVarve(t, "do not have it in Debian's version")
	eachDriver(t, func(t *testing.T, s *server, sn snapshots.Snapshotter) {
		write(t, sn, "key-1", "", map[string]string{"lower": "1", "both": "1"})
		must(t, sn.Commit(ctx, "one", "key-1"))
		write(t, sn, "key-2", "", map[string]string{"upper": "2", "both": "2"})
		commit(t, sn, "other", "")
		prepare(t, sn, "active", "")
		prepare(t, sn, "on-other", "other")

		wantError(t, "commit onto a missing parent", commitOnto(s, "two", "key-2", "no-such"),
			errdefs.ErrNotFound, "no-such")
		wantError(t, "commit onto an active parent", commitOnto(s, "two", "key-2", "active"),
			errdefs.ErrFailedPrecondition, "active")
		wantError(t, "commit onto another parent", commitOnto(s, "two", "on-other", "one"),
			errdefs.ErrInvalidArgument, "on-other")
		must(t, commitOnto(s, "same", "on-other", "other"))

		err := commitOnto(s, "two", "key-2", "one")
		if s.pools[0].driver != "overlay" {
			wantError(t, "commit onto a parent", err, errdefs.ErrNotImplemented, "key-2")
			must(t, sn.Commit(ctx, "two", "key-2"))
			return
		}
		must(t, err)
		info, err := sn.Stat(ctx, "two")
		must(t, err)
		if info.Parent != "one" {
			t.Errorf("the parent is %q", info.Parent)
		}
		view(t, sn, "two", func(dir string) {
			wantFiles(t, dir, map[string]string{"lower": "1", "upper": "2", "both": "2"})
		})
		wantError(t, "remove the new parent", sn.Remove(ctx, "one"), errdefs.ErrFailedPrecondition, "one")
	})
}

// Row S5: a removed key can be used again at once, for an empty snapshot.
func TestKeyReuse(t *testing.T) {
	eachDriver(t, func(t *testing.T, s *server, sn snapshots.Snapshotter) {
		for i := 0; i < 20; i++ {
			mounts, err := sn.Prepare(ctx, "key", "")
			must(t, err)
			mounted(t, mounts, func(dir string) {
				wantFiles(t, dir, map[string]string{})
				must(t, os.WriteFile(filepath.Join(dir, "file"), nil, 0644))
			})
			if i%2 == 1 {
				must(t, sn.Commit(ctx, "name", "key"))
				must(t, sn.Remove(ctx, "name"))
			} else {
				must(t, sn.Remove(ctx, "key"))
			}
		}
	})
}

// Row S6: usage is that of the snapshot alone.
func TestUsage(t *testing.T) {
	eachDriver(t, func(t *testing.T, s *server, sn snapshots.Snapshotter) {
		if s.pools[0].driver == "native" {
			onlyVarve(t, "count the parent's files too")
		}
		large := strings.Repeat("x", 1<<20)
		write(t, sn, "key-1", "", map[string]string{"large": large, "dir/small": "s"})
		wantUsage(t, sn, "key-1", 1<<20, 2<<20)
		must(t, sn.Commit(ctx, "one", "key-1"))
		wantUsage(t, sn, "one", 1<<20, 2<<20)
		write(t, sn, "key-2", "one", map[string]string{"new": large[:64<<10]})
		wantUsage(t, sn, "key-2", 64<<10, 512<<10)
		must(t, sn.Commit(ctx, "two", "key-2"))
		wantUsage(t, sn, "two", 64<<10, 512<<10)
		usage, err := sn.Usage(ctx, "one")
		must(t, err)
		// The root directory and "dir" may count or not.
		if s.pools[0].driver != "btrfs" && (usage.Inodes < 2 || usage.Inodes > 4) {
			t.Errorf("%d inodes of 2 files and a folder", usage.Inodes)
		}
	})
}

func wantUsage(t *testing.T, sn snapshots.Snapshotter, key string, least, most int64) {
	t.Helper()
	_ = exec.Command("sync").Run() // btrfs allocates late
	usage, err := sn.Usage(ctx, key)
	must(t, err)
	if usage.Size < least || usage.Size > most {
		t.Errorf("usage of %q: %d bytes, want %d to %d", key, usage.Size, least, most)
	}
}

// Row S12: files and folders of lower layers are renamed as mv does it.
func TestRename(t *testing.T) {
	eachDriver(t, func(t *testing.T, s *server, sn snapshots.Snapshotter) {
		write(t, sn, "key-1", "", map[string]string{"a/one": "1", "a/two": "2", "b/three": "3"})
		must(t, sn.Commit(ctx, "one", "key-1"))
		mounts, err := sn.Prepare(ctx, "key-2", "one")
		must(t, err)
		mounted(t, mounts, func(dir string) {
			for _, move := range [][2]string{{"a", "c"}, {"b/three", "c/one"}, {"c/two", "b/three"}} {
				out, err := exec.Command("mv", "-T", filepath.Join(dir, move[0]), filepath.Join(dir, move[1])).CombinedOutput()
				if err != nil {
					t.Errorf("renaming %v: %v\n%s", move, err, out)
				}
			}
		})
		must(t, sn.Commit(ctx, "two", "key-2"))
		view(t, sn, "two", func(dir string) {
			wantFiles(t, dir, map[string]string{"c/one": "3", "b/three": "2"})
			if _, err := os.Lstat(filepath.Join(dir, "a")); !os.IsNotExist(err) {
				t.Errorf("the folder is still there under its old name: %v", err)
			}
		})
		view(t, sn, "one", func(dir string) {
			wantFiles(t, dir, map[string]string{"a/one": "1", "a/two": "2", "b/three": "3"})
		})
	})
}

// Cleanup waits until what was removed is freed, and is idempotent.
func TestCleanup(t *testing.T) {
	eachDriver(t, func(t *testing.T, s *server, sn snapshots.Snapshotter) {
		if s.pools[0].driver != "overlay" {
			onlyVarve(t, "have no Cleanup here")
		}
		for i := 0; i < 10; i++ {
			key := fmt.Sprint("key-", i)
			write(t, sn, key, "", map[string]string{"dir/file": "text"})
			must(t, sn.Remove(ctx, key))
		}
		for i := 0; i < 2; i++ {
			must(t, sn.(snapshots.Cleaner).Cleanup(ctx))
			files, err := s.files()
			must(t, err)
			for path := range files {
				if filepath.Base(path) == "file" {
					t.Errorf("%s is left", path)
				}
			}
		}
	})
}

// Row S8: two pools, each with its own key space.
func TestTwoPools(t *testing.T) {
	onlyVarve(t, "are one to a server")
	s, err := launch(ctx, t.TempDir(), "", pool{"one", "overlay", ""}, pool{"two", "native", ""})
	must(t, err)
	for _, p := range []string{"one", "two"} {
		write(t, s.sn(p), "key", "", map[string]string{"pool": p})
		must(t, s.sn(p).Commit(ctx, "name", "key"))
		prepare(t, s.sn(p), "child", "name")
	}
	prepare(t, s.sn("one"), "only here", "")
	for _, p := range []string{"one", "two"} {
		view(t, s.sn(p), "name", func(dir string) {
			wantFiles(t, dir, map[string]string{"pool": p})
		})
	}
	if n := len(names(t, s.sn("two"))); n != 2 {
		t.Errorf("%d snapshots in the second pool, want 2", n)
	}
	must(t, removeAll(ctx, s.sn("one")))
	_, err = s.sn("two").Mounts(ctx, "child")
	must(t, err)
	must(t, s.finish())
}

// Row S6: a long list comes whole, each snapshot once, in more than one message.
func TestLongList(t *testing.T) {
	const count = 5000
	withServer(t, variants[0], func(t *testing.T, s *server, sn snapshots.Snapshotter) {
		for i := 0; i < count; i++ {
			prepare(t, sn, fmt.Sprintf("key-%d", i), "")
		}
		stream, err := s.client().List(ctx, &snapshotsapi.ListSnapshotsRequest{Snapshotter: "main"})
		must(t, err)
		seen, messages := map[string]int{}, 0
		for ; ; messages++ {
			answer, err := stream.Recv()
			if err == io.EOF {
				break
			}
			must(t, err)
			for _, info := range answer.Info {
				seen[info.Name]++
			}
		}
		for i := 0; i < count; i++ {
			if n := seen[fmt.Sprintf("key-%d", i)]; n != 1 {
				t.Fatalf("key-%d is listed %d times", i, n)
			}
		}
		if len(seen) != count || messages < 2 {
			t.Errorf("%d snapshots in %d messages", len(seen), messages)
		}
		leaveEarly(t, s, sn)
	})
}

// leaveEarly ends a list at its first entry; the server must go on.
func leaveEarly(t *testing.T, s *server, sn snapshots.Snapshotter) {
	t.Helper()
	for i := 0; i < 20; i++ {
		short, cancel := context.WithCancel(ctx)
		enough := errors.New("enough")
		err := sn.Walk(short, func(context.Context, snapshots.Info) error { return enough })
		cancel()
		if err != enough {
			t.Fatalf("ending a walk: %v", err)
		}
	}
	_, err := sn.Stat(ctx, "key-0")
	must(t, err)
}
