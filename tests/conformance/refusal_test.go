// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"context"
	"strings"
	"testing"

	snapshotsapi "github.com/containerd/containerd/api/services/snapshots/v1"
	"github.com/containerd/containerd/errdefs"
	"github.com/containerd/containerd/snapshots"
)

var ctx = context.Background()

// wantError checks that an error is of a kind of errdefs and that its message names something.
func wantError(t *testing.T, what string, err, kind error, names ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("%s: succeeded, want: %v", what, kind)
		return
	}
	if !isKind(err, kind) {
		t.Errorf("%s: %v, want: %v", what, err, kind)
	}
	for _, name := range names {
		if peerPath == "" && !strings.Contains(err.Error(), name) {
			t.Errorf("%s: the message does not name %q: %v", what, name, err)
		}
	}
}

func isKind(err, kind error) bool {
	is := map[error]func(error) bool{
		errdefs.ErrNotFound:           errdefs.IsNotFound,
		errdefs.ErrAlreadyExists:      errdefs.IsAlreadyExists,
		errdefs.ErrFailedPrecondition: errdefs.IsFailedPrecondition,
		errdefs.ErrInvalidArgument:    errdefs.IsInvalidArgument,
		errdefs.ErrNotImplemented:     errdefs.IsNotImplemented,
	}[kind]
	return is(err)
}

// must ends the test at an error that nothing provoked.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func prepare(t *testing.T, sn snapshots.Snapshotter, key, parent string, opts ...snapshots.Opt) {
	t.Helper()
	_, err := sn.Prepare(ctx, key, parent, opts...)
	must(t, err)
}

// commit makes a committed snapshot without content.
func commit(t *testing.T, sn snapshots.Snapshotter, name, parent string, opts ...snapshots.Opt) {
	t.Helper()
	prepare(t, sn, name+"-key", parent)
	must(t, sn.Commit(ctx, name, name+"-key", opts...))
}

// names lists all snapshots with their kinds: refused calls must not change it.
func names(t *testing.T, sn snapshots.Snapshotter) map[string]string {
	t.Helper()
	found := map[string]string{}
	must(t, sn.Walk(ctx, func(_ context.Context, info snapshots.Info) error {
		found[info.Name] = info.Kind.String() + " on " + info.Parent
		return nil
	}))
	return found
}

// Rows S1 to S6: what is refused, as which kind of error, and that nothing changes by it.
func TestRefusals(t *testing.T) {
	eachDriver(t, func(t *testing.T, s *server, sn snapshots.Snapshotter) {
		commit(t, sn, "base", "")
		commit(t, sn, "lower", "")
		prepare(t, sn, "active", "base")
		prepare(t, sn, "on-lower", "lower")
		_, err := sn.View(ctx, "view", "base")
		must(t, err)
		before := names(t, sn)

		for _, c := range []struct {
			what  string
			kind  error
			names string
			call  func() error
		}{
			{"prepare on a missing parent", errdefs.ErrNotFound, "no-such", func() error {
				_, err := sn.Prepare(ctx, "new", "no-such")
				return err
			}},
			{"prepare on an active parent", errdefs.ErrInvalidArgument, "active", func() error {
				_, err := sn.Prepare(ctx, "new", "active")
				return err
			}},
			{"prepare on a view", errdefs.ErrInvalidArgument, "view", func() error {
				_, err := sn.Prepare(ctx, "new", "view")
				return err
			}},
			{"prepare a taken key", errdefs.ErrAlreadyExists, "active", func() error {
				_, err := sn.Prepare(ctx, "active", "base")
				return err
			}},
			{"prepare under a committed one's name", errdefs.ErrAlreadyExists, "lower", func() error {
				_, err := sn.Prepare(ctx, "lower", "base")
				return err
			}},
			{"view of a missing parent", errdefs.ErrNotFound, "no-such", func() error {
				_, err := sn.View(ctx, "new", "no-such")
				return err
			}},
			{"view of an active parent", errdefs.ErrInvalidArgument, "active", func() error {
				_, err := sn.View(ctx, "new", "active")
				return err
			}},
			{"view under a taken key", errdefs.ErrAlreadyExists, "active", func() error {
				_, err := sn.View(ctx, "active", "base")
				return err
			}},
			{"commit a missing key", errdefs.ErrNotFound, "no-such", func() error {
				return sn.Commit(ctx, "new", "no-such")
			}},
			{"commit to a taken name", errdefs.ErrAlreadyExists, "lower", func() error {
				return sn.Commit(ctx, "lower", "active")
			}},
			{"commit to the name of an active one", errdefs.ErrAlreadyExists, "on-lower", func() error {
				return sn.Commit(ctx, "on-lower", "active")
			}},
			{"commit a view", errdefs.ErrFailedPrecondition, "view", func() error {
				return sn.Commit(ctx, "new", "view")
			}},
			{"commit a committed one", errdefs.ErrFailedPrecondition, "base", func() error {
				return sn.Commit(ctx, "new", "base")
			}},
			{"mounts of a missing key", errdefs.ErrNotFound, "no-such", func() error {
				_, err := sn.Mounts(ctx, "no-such")
				return err
			}},
			{"mounts of a committed one", errdefs.ErrFailedPrecondition, "base", func() error {
				_, err := sn.Mounts(ctx, "base")
				return err
			}},
			{"remove a missing key", errdefs.ErrNotFound, "no-such", func() error {
				return sn.Remove(ctx, "no-such")
			}},
			{"remove one with children", errdefs.ErrFailedPrecondition, "lower", func() error {
				return sn.Remove(ctx, "lower")
			}},
			{"stat a missing key", errdefs.ErrNotFound, "no-such", func() error {
				_, err := sn.Stat(ctx, "no-such")
				return err
			}},
			{"usage of a missing key", errdefs.ErrNotFound, "no-such", func() error {
				_, err := sn.Usage(ctx, "no-such")
				return err
			}},
			{"update a missing key", errdefs.ErrNotFound, "no-such", func() error {
				_, err := sn.Update(ctx, snapshots.Info{Name: "no-such"})
				return err
			}},
			{"update another field than labels", errdefs.ErrInvalidArgument, "parent", func() error {
				_, err := sn.Update(ctx, snapshots.Info{Name: "active", Parent: "lower"}, "parent")
				return err
			}},
		} {
			if peerPath != "" && c.what == "commit a view" && s.pools[0].driver == "native" {
				continue // containerd's looks at the disk first, and fails there
			}
			wantError(t, c.what, c.call(), c.kind, c.names)
		}

		if after := names(t, sn); !equal(before, after) {
			t.Errorf("refused calls changed something:\n%v\n%v", before, after)
		}
		must(t, sn.Commit(ctx, "usable", "active"))
	})
}

func equal(a, b map[string]string) bool {
	if len(a) != len(b) {
		return false
	}
	for k, v := range a {
		if w, ok := b[k]; !ok || v != w {
			return false
		}
	}
	return true
}

// Row S8: 1 to 4096 bytes, any but NUL.
func TestKeysRefused(t *testing.T) {
	onlyVarve(t, "hold any key that their database takes")
	eachDriver(t, func(t *testing.T, s *server, sn snapshots.Snapshotter) {
		commit(t, sn, "base", "")
		prepare(t, sn, "active", "base")
		for what, key := range map[string]string{
			"no key":          "",
			"a key too long":  strings.Repeat("k", 4097),
			"a key with NULs": "a\x00b",
		} {
			_, err := sn.Prepare(ctx, key, "base")
			wantError(t, "prepare "+what, err, errdefs.ErrInvalidArgument)
			_, err = sn.View(ctx, key, "base")
			wantError(t, "view "+what, err, errdefs.ErrInvalidArgument)
			err = sn.Commit(ctx, key, "active")
			wantError(t, "commit to "+what, err, errdefs.ErrInvalidArgument)
		}
		if n := len(names(t, sn)); n != 2 {
			t.Errorf("%d snapshots, want 2", n)
		}
	})
}

// Row S7: a label's key and value together hold 4096 bytes, wherever labels are given.
func TestLabelsRefused(t *testing.T) {
	onlyVarve(t, "leave the check to containerd's metadata plugin")
	eachDriver(t, func(t *testing.T, s *server, sn snapshots.Snapshotter) {
		fits := map[string]string{"k": strings.Repeat("v", 4095)}
		large := map[string]string{"k": strings.Repeat("v", 4096), "small": "s"}
		prepare(t, sn, "active", "", snapshots.WithLabels(fits))

		_, err := sn.Prepare(ctx, "new", "", snapshots.WithLabels(large))
		wantError(t, "prepare", err, errdefs.ErrInvalidArgument, "4096")
		_, err = sn.View(ctx, "new", "", snapshots.WithLabels(large))
		wantError(t, "view", err, errdefs.ErrInvalidArgument, "4096")
		err = sn.Commit(ctx, "new", "active", snapshots.WithLabels(large))
		wantError(t, "commit", err, errdefs.ErrInvalidArgument, "4096")
		for _, fields := range [][]string{nil, {"labels"}, {"labels.k"}} {
			_, err = sn.Update(ctx, snapshots.Info{Name: "active", Labels: large}, fields...)
			wantError(t, "update", err, errdefs.ErrInvalidArgument, "4096")
		}

		info, err := sn.Stat(ctx, "active")
		must(t, err)
		if !equal(info.Labels, fits) {
			t.Errorf("the labels changed to %v", info.Labels)
		}
		must(t, sn.Commit(ctx, "committed", "active", snapshots.WithLabels(fits)))
	})
}

// A snapshotter name without a pool is refused, or answered by the pool that is named for it.
func TestUnknownPool(t *testing.T) {
	onlyVarve(t, "do not look at the snapshotter name")
	plain, err := launch(ctx, t.TempDir(), "", pool{"one", "native", ""})
	must(t, err)
	_, err = plain.sn("other").Prepare(ctx, "key", "")
	wantError(t, "prepare in an unknown pool", err, errdefs.ErrNotFound, "other")
	must(t, plain.finish())

	s, err := launch(ctx, t.TempDir(), "fallback-pool = two", pool{"one", "native", ""},
		pool{"two", "native", ""})
	must(t, err)
	prepare(t, s.sn("other"), "key", "")
	_, err = s.sn("two").Stat(ctx, "key")
	must(t, err)
	_, err = s.sn("one").Stat(ctx, "key")
	wantError(t, "stat in the pool that was not named", err, errdefs.ErrNotFound, "key")
	must(t, s.finish())
}

// commitOnto commits with a parent, which came to containerd's API after Debian's version: field 5
// of CommitSnapshotRequest.
func commitOnto(s *server, name, key, parent string) error {
	field := append([]byte{5<<3 | 2, byte(len(parent))}, parent...)
	_, err := s.client().Commit(ctx, &snapshotsapi.CommitSnapshotRequest{
		Snapshotter: "main", Name: name, Key: key, XXX_unrecognized: field,
	})
	return errdefs.FromGRPC(err)
}
