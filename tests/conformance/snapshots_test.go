// SPDX-License-Identifier: Apache-2.0

// Package conformance holds what a containerd snapshotter must do against a running varved, through
// containerd's own client. TestSuite is containerd's own suite of tests, the same that its overlay,
// native and btrfs snapshotters must pass; the other files add what SPEC.md's rows S1 to S8 say
// beyond it.
package conformance

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/containerd/containerd/mount"
	"github.com/containerd/containerd/pkg/testutil"
	"github.com/containerd/containerd/snapshots"
	"github.com/containerd/containerd/snapshots/testsuite"
	"github.com/containerd/continuity/testutil/loopback"
	"golang.org/x/sys/unix"
)

// A variant is a driver with settings. suite is the name that upstream's test of that snapshotter
// gives, by which the suite decides what to skip.
type variant struct {
	name, suite, driver, settings string
	extra                         string // of the server
}

var variants = []variant{
	{"overlay", "Overlay", "overlay", "", ""},
	{"overlay-relaxed", "Overlay", "overlay", "durability = relaxed", ""},
	{"native", "Naive", "native", "", ""},
	{"btrfs", "Btrfs", "btrfs", "", ""},
	{"zfs", "ZFS", "zfs", "", ""},
}

// available skips a test of a driver that this host has no file system for.
func (v variant) available(t *testing.T) {
	t.Helper()
	if v.driver != "zfs" {
		return
	}
	if peerPath != "" {
		t.Skip("Debian's containerd has no snapshotter for zfs")
	}
	if _, err := os.Stat("/dev/zfs"); err != nil {
		t.Skip("the kernel has no zfs: ", err)
	}
}

// launch starts a server with a pool of the variant named "main" in an empty directory, and returns
// it with what checks and undoes all of it.
func (v variant) launch(ctx context.Context, dir string) (*server, func() error, error) {
	undo := func() error { return nil }
	settings := v.settings
	var err error
	switch v.driver {
	case "btrfs":
		undo, err = mountBtrfs(dir)
	case "zfs":
		var zpool string
		zpool, undo, err = makeZpool(dir)
		settings += "dataset = " + zpool + "/varve\n"
	}
	if err != nil {
		return nil, nil, err
	}
	s, err := launch(ctx, dir, v.extra, pool{"main", v.driver, settings})
	if err != nil {
		_ = undo()
		return nil, nil, err
	}
	return s, func() error {
		err := s.finish()
		if uerr := undo(); err == nil {
			err = uerr
		}
		return err
	}, nil
}

// mountBtrfs mounts a new btrfs of the size that upstream's test takes.
func mountBtrfs(dir string) (func() error, error) {
	loop, err := loopback.New(128 << 20)
	if err != nil {
		return nil, err
	}
	out, err := exec.Command("mkfs.btrfs", loop.Device).CombinedOutput()
	if err == nil {
		out, err = exec.Command("mount", "-t", "btrfs", loop.Device, dir).CombinedOutput()
	}
	if err != nil {
		_ = loop.Close()
		return nil, fmt.Errorf("making a btrfs on %s: %w\n%s", loop.Device, err, out)
	}
	return func() error {
		err := mount.UnmountAll(dir, unix.MNT_DETACH)
		if cerr := loop.Close(); err == nil {
			err = cerr
		}
		return err
	}, nil
}

var zpools int

// makeZpool makes a zpool in a file, and returns its name, by which the script run finds it should
// this die.
func makeZpool(dir string) (string, func() error, error) {
	zpools++
	name := fmt.Sprint(filepath.Base(os.TempDir()), "-", zpools)
	file := filepath.Join(dir, "zpool")
	if err := os.WriteFile(file, nil, 0600); err != nil {
		return "", nil, err
	}
	if err := os.Truncate(file, 1<<30); err != nil {
		return "", nil, err
	}
	out, err := exec.Command("zpool", "create", "-o", "cachefile=none", "-O", "mountpoint=none", name, file).CombinedOutput()
	if err != nil {
		return "", nil, fmt.Errorf("making a zpool in %s: %w\n%s", file, err, out)
	}
	return name, func() error {
		out, err := exec.Command("zpool", "destroy", name).CombinedOutput()
		if err != nil {
			return fmt.Errorf("destroying the zpool: %w\n%s", err, out)
		}
		return os.Remove(file)
	}, nil
}

func TestSuite(t *testing.T) {
	testutil.RequiresRoot(t)
	for _, v := range variants {
		v := v
		if peerPath != "" && v.settings != "" {
			continue
		}
		t.Run(v.name, func(t *testing.T) {
			v.available(t)
			testsuite.SnapshotterSuite(t, v.suite, func(ctx context.Context, root string) (snapshots.Snapshotter, func() error, error) {
				s, finish, err := v.launch(ctx, root)
				if err != nil {
					return nil, nil, err
				}
				return s.sn("main"), finish, nil
			})
		})
	}
}

// eachDriver runs a test on a new server with one pool, for every driver.
func eachDriver(t *testing.T, test func(t *testing.T, s *server, sn snapshots.Snapshotter)) {
	testutil.RequiresRoot(t)
	for _, v := range variants {
		if v.settings != "" {
			continue
		}
		v := v
		t.Run(v.name, func(t *testing.T) {
			v.available(t)
			withServer(t, v, test)
		})
	}
}

func withServer(t *testing.T, v variant, test func(t *testing.T, s *server, sn snapshots.Snapshotter)) {
	s, finish, err := v.launch(context.Background(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := finish(); err != nil {
			t.Errorf("afterwards: %v", err)
		}
	}()
	test(t, s, s.sn("main"))
}
