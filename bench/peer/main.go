// SPDX-License-Identifier: Apache-2.0

// Command peer serves one of containerd's own snapshotters, alone, over gRPC on a unix socket: what
// Varve is measured against, and what the conformance tests are checked against.
package main

import (
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	snapshotsapi "github.com/containerd/containerd/api/services/snapshots/v1"
	"github.com/containerd/containerd/contrib/snapshotservice"
	"github.com/containerd/containerd/snapshots"
	"github.com/containerd/containerd/snapshots/btrfs"
	"github.com/containerd/containerd/snapshots/native"
	"github.com/containerd/containerd/snapshots/overlay"
	"google.golang.org/grpc"
)

// open makes the snapshotter as containerd's plugin of that kind does by default.
func open(kind, root string) (snapshots.Snapshotter, error) {
	switch kind {
	case "overlay":
		return overlay.NewSnapshotter(root, overlay.AsynchronousRemove)
	case "btrfs":
		return btrfs.NewSnapshotter(root)
	case "native":
		return native.NewSnapshotter(root)
	}
	return nil, fmt.Errorf("unknown kind %q: overlay, btrfs and native exist", kind)
}

func run(kind, root, socket string) error {
	if err := os.MkdirAll(root, 0700); err != nil {
		return err
	}
	root, err := filepath.Abs(root)
	if err != nil {
		return err
	}
	sn, err := open(kind, root)
	if err != nil {
		return err
	}
	defer sn.Close()

	listener, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	server := grpc.NewServer()
	snapshotsapi.RegisterSnapshotsServer(server, snapshotservice.FromSnapshotter(sn))

	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		<-term
		server.GracefulStop()
	}()
	return server.Serve(listener)
}

func main() {
	kind := flag.String("kind", "overlay", "snapshotter: overlay, btrfs or native")
	root := flag.String("root", "", "directory of the snapshotter")
	socket := flag.String("socket", "", "unix socket to serve on")
	flag.Parse()
	log.SetFlags(0)
	if *root == "" || *socket == "" || flag.NArg() > 0 {
		log.Fatal("usage: peer -kind KIND -root DIR -socket PATH")
	}
	if err := run(*kind, *root, *socket); err != nil {
		log.Fatalf("peer: %v", err)
	}
}
