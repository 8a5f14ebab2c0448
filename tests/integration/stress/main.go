// SPDX-License-Identifier: Apache-2.0

// Command stress is a client of the snapshot service as containerd is one: with containerd's own
// proxy and its own way to mount. It ends with 0 when everything was as it should be.
//
//	stress SOCKET SNAPSHOTTER clients N ROUNDS    N clients at once, each living ROUNDS full lives;
//	                                              prints the names of what they leave
//	stress SOCKET SNAPSHOTTER layers N            N layers on top of each other, and a look from above
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	snapshotsapi "github.com/containerd/containerd/api/services/snapshots/v1"
	"github.com/containerd/containerd/errdefs"
	"github.com/containerd/containerd/mount"
	"github.com/containerd/containerd/pkg/dialer"
	"github.com/containerd/containerd/snapshots"
	"github.com/containerd/containerd/snapshots/proxy"
	"google.golang.org/grpc"
)

type client struct {
	ctx context.Context
	sn  snapshots.Snapshotter
}

func dial(socket, snapshotter string) (client, error) {
	ctx := context.Background()
	conn, err := grpc.DialContext(ctx, dialer.DialAddress(socket), grpc.WithInsecure(), grpc.WithBlock(),
		grpc.WithContextDialer(dialer.ContextDialer))
	if err != nil {
		return client{}, err
	}
	return client{ctx, proxy.NewSnapshotter(snapshotsapi.NewSnapshotsClient(conn), snapshotter)}, nil
}

// add makes the committed snapshot name on parent, with one more file, of that name.
func (c client) add(name, parent string) error {
	mounts, err := c.sn.Prepare(c.ctx, name+"-key", parent)
	if err != nil {
		return err
	}
	err = mount.WithTempMount(c.ctx, mounts, func(root string) error {
		return os.WriteFile(filepath.Join(root, name), []byte(name), 0644)
	})
	if err != nil {
		return err
	}
	return c.sn.Commit(c.ctx, name, name+"-key")
}

// check looks through a view whether the snapshot holds those files and no others.
func (c client) check(name string, files []string) error {
	mounts, err := c.sn.View(c.ctx, name+"-view", name)
	if err != nil {
		return err
	}
	err = mount.WithTempMount(c.ctx, mounts, func(root string) error {
		entries, err := os.ReadDir(root)
		if err != nil {
			return err
		}
		if len(entries) != len(files) {
			return fmt.Errorf("%s has %d files instead of %d", name, len(entries), len(files))
		}
		for _, file := range files {
			data, err := os.ReadFile(filepath.Join(root, file))
			if err != nil {
				return err
			}
			if string(data) != file {
				return fmt.Errorf("%s in %s holds %q", file, name, data)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return c.sn.Remove(c.ctx, name+"-view")
}

// look asks all that can be asked of a committed snapshot.
func (c client) look(name, parent string) error {
	info, err := c.sn.Stat(c.ctx, name)
	if err != nil {
		return err
	}
	if info.Kind != snapshots.KindCommitted || info.Parent != parent {
		return fmt.Errorf("%s is %+v", name, info)
	}
	info.Labels = map[string]string{"name": name}
	if info, err = c.sn.Update(c.ctx, info, "labels.name"); err != nil {
		return err
	}
	if info.Labels["name"] != name {
		return fmt.Errorf("%s has the labels %v", name, info.Labels)
	}
	usage, err := c.sn.Usage(c.ctx, name)
	if err != nil {
		return err
	}
	if usage.Inodes < 1 {
		return fmt.Errorf("%s has %d inodes", name, usage.Inodes)
	}
	found := 0
	err = c.sn.Walk(c.ctx, func(_ context.Context, info snapshots.Info) error {
		found++
		return nil
	}, "labels.name=="+name)
	if err == nil && found != 1 {
		err = fmt.Errorf("%d snapshots are labelled %s", found, name)
	}
	return err
}

// refused turns an error that had to come into nil, and any other outcome into an error.
func refused(what string, err, want error) error {
	if errors.Is(err, want) {
		return nil
	}
	return fmt.Errorf("%s: %v instead of %v", what, err, want)
}

// live makes two layers on base, looks at them, tries what is not allowed, and keeps the lower one.
func (c client) live(lower, upper string) error {
	steps := []func() error{
		func() error { return c.add(lower, "base") },
		func() error { return c.add(upper, lower) },
		func() error { return c.check(upper, []string{"base", lower, upper}) },
		func() error { return c.look(upper, lower) },
		func() error { return refused("remove", c.sn.Remove(c.ctx, lower), errdefs.ErrFailedPrecondition) },
		func() error { return refused("add", c.add(upper, ""), errdefs.ErrAlreadyExists) },
		func() error { return c.sn.Remove(c.ctx, upper) },
		func() error { return refused("remove", c.sn.Remove(c.ctx, upper), errdefs.ErrNotFound) },
		func() error { return c.sn.Remove(c.ctx, upper+"-key") },
	}
	for i, step := range steps {
		if err := step(); err != nil {
			return fmt.Errorf("%s, step %d: %w", upper, i, err)
		}
	}
	return nil
}

func clients(socket, snapshotter string, n, rounds int) error {
	c, err := dial(socket, snapshotter)
	if err != nil {
		return err
	}
	if err := c.add("base", ""); err != nil {
		return err
	}
	var group sync.WaitGroup
	errs := make([]error, n)
	for i := 0; i < n; i++ {
		group.Add(1)
		go func(i int) {
			defer group.Done()
			own, err := dial(socket, snapshotter)
			for r := 0; r < rounds && err == nil; r++ {
				err = own.live(fmt.Sprintf("lower-%d-%d", i, r), fmt.Sprintf("upper-%d-%d", i, r))
			}
			errs[i] = err
		}(i)
	}
	group.Wait()
	for i, err := range errs {
		if err != nil {
			return fmt.Errorf("client %d: %w", i, err)
		}
	}
	fmt.Println("base")
	for i := 0; i < n*rounds; i++ {
		fmt.Printf("lower-%d-%d\n", i/rounds, i%rounds)
	}
	return nil
}

func layers(socket, snapshotter string, n int) error {
	c, err := dial(socket, snapshotter)
	if err != nil {
		return err
	}
	parent, files := "", []string{}
	for i := 1; i <= n; i++ {
		name := fmt.Sprintf("layer-%d", i)
		if err := c.add(name, parent); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		parent, files = name, append(files, name)
	}
	return c.check(parent, files)
}

func run(args []string) error {
	numbers := []int{}
	for i := 4; i < len(args); i++ {
		number, err := strconv.Atoi(args[i])
		if err != nil {
			return err
		}
		numbers = append(numbers, number)
	}
	switch {
	case len(args) == 6 && args[3] == "clients":
		return clients(args[1], args[2], numbers[0], numbers[1])
	case len(args) == 5 && args[3] == "layers":
		return layers(args[1], args[2], numbers[0])
	}
	return errors.New("SOCKET SNAPSHOTTER clients N ROUNDS, or layers N")
}

func main() {
	log.SetFlags(0)
	log.SetPrefix("stress: ")
	if err := run(os.Args); err != nil {
		log.Fatal(err)
	}
}
