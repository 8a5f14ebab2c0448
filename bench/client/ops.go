// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/containerd/containerd/errdefs"
	"github.com/containerd/containerd/mount"
	"github.com/containerd/containerd/snapshots"
)

// parent is the committed snapshot that all others stand on.
const parent = "bench-parent"

type operation func(ctx context.Context, sn snapshots.Snapshotter, i int) error

func millis(d time.Duration) float64 {
	return float64(d) / float64(time.Millisecond)
}

// each calls op for 0 to count-1 from that many clients at once and sums up how it went.
func (b *bench) each(ctx context.Context, name string, clients, count int, op operation) (record, error) {
	if err := b.connect(ctx, clients); err != nil {
		return record{}, err
	}
	var (
		group sync.WaitGroup
		next  int64
		took  = make([]time.Duration, count)
		errs  = make([]error, clients)
	)
	begin := time.Now()
	for c := 0; c < clients; c++ {
		group.Add(1)
		go func(c int) {
			defer group.Done()
			sn := b.sns[c%len(b.sns)]
			for errs[c] == nil {
				i := int(atomic.AddInt64(&next, 1)) - 1
				if i >= count {
					return
				}
				start := time.Now()
				errs[c] = op(ctx, sn, i)
				took[i] = time.Since(start)
			}
		}(c)
	}
	group.Wait()
	total := time.Since(begin)
	for _, err := range errs {
		if err != nil {
			return record{}, fmt.Errorf("%s with %d clients: %w", name, clients, err)
		}
	}
	sort.Slice(took, func(i, j int) bool { return took[i] < took[j] })
	return record{
		Op: name, Clients: clients, Count: count, Seconds: total.Seconds(),
		Rate: float64(count) / total.Seconds(),
		P50:  millis(took[count/2]), P99: millis(took[count*99/100]),
	}, nil
}

// makeParent commits a snapshot that holds some files, unless it is there.
func (b *bench) makeParent(ctx context.Context) error {
	sn := b.sns[0]
	if _, err := sn.Stat(ctx, parent); err == nil {
		return nil
	}
	mounts, err := sn.Prepare(ctx, parent+"-key", "")
	if err != nil {
		return err
	}
	err = mount.WithTempMount(ctx, mounts, func(root string) error {
		for i := 0; i < 32; i++ {
			dir := filepath.Join(root, fmt.Sprintf("dir%d", i%4))
			if err := os.MkdirAll(dir, 0755); err != nil {
				return err
			}
			name := filepath.Join(dir, fmt.Sprintf("file%d", i))
			if err := os.WriteFile(name, make([]byte, 8192), 0644); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return sn.Commit(ctx, parent, parent+"-key")
}

// cleanup frees what was removed: at once here, later or beside the calls on the server's own.
func cleanup(ctx context.Context, sn snapshots.Snapshotter, i int) error {
	err := sn.(snapshots.Cleaner).Cleanup(ctx)
	if errors.Is(err, errdefs.ErrNotImplemented) {
		return nil
	}
	return err
}

func prepareOp(prefix string) operation {
	return func(ctx context.Context, sn snapshots.Snapshotter, i int) error {
		_, err := sn.Prepare(ctx, fmt.Sprint(prefix, i), parent)
		return err
	}
}

func removeOp(prefix string) operation {
	return func(ctx context.Context, sn snapshots.Snapshotter, i int) error {
		return sn.Remove(ctx, fmt.Sprint(prefix, i))
	}
}

func (b *bench) round(ctx context.Context, clients, count int) error {
	key, name := fmt.Sprintf("key-%d-", clients), fmt.Sprintf("name-%d-", clients)
	steps := []struct {
		name string
		op   operation
	}{
		{"prepare", prepareOp(key)},
		{"mounts", func(ctx context.Context, sn snapshots.Snapshotter, i int) error {
			_, err := sn.Mounts(ctx, fmt.Sprint(key, i))
			return err
		}},
		{"stat", func(ctx context.Context, sn snapshots.Snapshotter, i int) error {
			_, err := sn.Stat(ctx, fmt.Sprint(key, i))
			return err
		}},
		{"commit", func(ctx context.Context, sn snapshots.Snapshotter, i int) error {
			return sn.Commit(ctx, fmt.Sprint(name, i), fmt.Sprint(key, i))
		}},
		{"usage", func(ctx context.Context, sn snapshots.Snapshotter, i int) error {
			_, err := sn.Usage(ctx, fmt.Sprint(name, i))
			return err
		}},
		{"remove", removeOp(name)},
	}
	for _, step := range steps {
		r, err := b.each(ctx, step.name, clients, count, step.op)
		if err != nil {
			return err
		}
		if err := emit(r); err != nil {
			return err
		}
	}
	r, err := b.each(ctx, "cleanup", 1, 1, cleanup)
	if err != nil {
		return err
	}
	r.Clients, r.Count = clients, count // the round that it belongs to
	return emit(r)
}

func (b *bench) lifecycle(ctx context.Context, clients, counts string) error {
	cs, err := numbers(clients)
	if err != nil {
		return err
	}
	ns, err := numbers(counts)
	if err != nil {
		return err
	}
	if len(cs) != len(ns) {
		return fmt.Errorf("%d numbers of clients, but %d counts", len(cs), len(ns))
	}
	if err := b.makeParent(ctx); err != nil {
		return err
	}
	for i := range cs {
		if err := b.round(ctx, cs[i], ns[i]); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) length(ctx context.Context) (n int, err error) {
	err = b.sns[0].Walk(ctx, func(context.Context, snapshots.Info) error {
		n++
		return nil
	})
	return n, err
}

func (b *bench) fill(ctx context.Context, count int) error {
	if err := b.makeParent(ctx); err != nil {
		return err
	}
	have, err := b.length(ctx)
	if err != nil || have >= count {
		return err
	}
	r, err := b.each(ctx, "fill", 16, count-have, prepareOp(fmt.Sprintf("fill-%d-", have)))
	if err != nil {
		return err
	}
	return emit(r)
}

func (b *bench) list(ctx context.Context, repeat int) error {
	n := 0
	r, err := b.each(ctx, "list", 1, repeat, func(ctx context.Context, _ snapshots.Snapshotter, _ int) (err error) {
		n, err = b.length(ctx)
		return err
	})
	if err != nil {
		return err
	}
	r.Count = n // snapshots, not calls
	return emit(r)
}

func (b *bench) prepare(ctx context.Context, count int) error {
	if err := b.makeParent(ctx); err != nil {
		return err
	}
	r, err := b.each(ctx, "prepare", 1, count, prepareOp("rate-"))
	if err != nil {
		return err
	}
	if _, err := b.each(ctx, "remove", 1, count, removeOp("rate-")); err != nil {
		return err
	}
	if err := cleanup(ctx, b.sns[0], 0); err != nil {
		return err
	}
	return emit(r)
}

// start measures from exec to the answer of a Stat of a snapshot that is there.
func (b *bench) start(ctx context.Context, command []string) error {
	if len(command) == 0 {
		return errors.New("start what?")
	}
	server := exec.Command(command[0], command[1:]...)
	server.Stderr = os.Stderr
	begin := time.Now()
	if err := server.Start(); err != nil {
		return err
	}
	err := b.firstAnswer(ctx, begin)
	if serr := server.Process.Signal(syscall.SIGTERM); err == nil {
		err = serr
	}
	if werr := server.Wait(); err == nil {
		err = werr
	}
	return err
}

func (b *bench) firstAnswer(ctx context.Context, begin time.Time) error {
	for {
		conn, err := net.Dial("unix", b.socket)
		if err == nil {
			conn.Close()
			break
		}
		if time.Since(begin) > time.Minute {
			return fmt.Errorf("no answer within a minute: %w", err)
		}
		time.Sleep(200 * time.Microsecond)
	}
	if err := b.connect(ctx, 1); err != nil {
		return err
	}
	if _, err := b.sns[0].Stat(ctx, parent); err != nil {
		return err
	}
	took := time.Since(begin)
	return emit(record{Op: "start", Clients: 1, Count: 1, Seconds: took.Seconds(), P50: millis(took), P99: millis(took)})
}
