// SPDX-License-Identifier: Apache-2.0

// Command client is the load generator of the snapshot benchmarks: the same one for Varve and for
// its peer. It speaks containerd's snapshot API to a unix socket and prints one JSON line for each
// measurement. What to do comes last:
//
//	lifecycle     for each number of clients: prepare snapshots on a common parent, ask for their
//	              mounts, stat and commit them, ask for their usage, remove them, clean up
//	fill          prepare snapshots until there are -count of them, as quickly as it goes
//	list          list all snapshots
//	prepare       prepare -count snapshots, one after the other, then remove them
//	start         run the command that follows, measure the time until its first answer, end it
//
// All clients are goroutines of this process. They share one connection, as containerd's own
// services do, or have one each with -own-connections.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"os"
	"strconv"
	"strings"

	snapshotsapi "github.com/containerd/containerd/api/services/snapshots/v1"
	"github.com/containerd/containerd/pkg/dialer"
	"github.com/containerd/containerd/snapshots"
	"github.com/containerd/containerd/snapshots/proxy"
	"google.golang.org/grpc"
)

type bench struct {
	socket         string
	pool           string
	ownConnections bool
	sns            []snapshots.Snapshotter // one for each connection
}

// record is one measurement.
type record struct {
	Op      string  `json:"op"`
	Clients int     `json:"clients"`
	Count   int     `json:"count"`
	Seconds float64 `json:"seconds"`
	Rate    float64 `json:"rate"` // operations per second
	P50     float64 `json:"p50"`  // milliseconds, as is P99
	P99     float64 `json:"p99"`
}

func emit(r record) error {
	return json.NewEncoder(os.Stdout).Encode(r)
}

func dial(ctx context.Context, socket string) (*grpc.ClientConn, error) {
	return grpc.DialContext(ctx, dialer.DialAddress(socket), grpc.WithInsecure(), grpc.WithBlock(),
		grpc.WithContextDialer(dialer.ContextDialer))
}

// connect makes sure that there are connections for that many clients.
func (b *bench) connect(ctx context.Context, clients int) error {
	if !b.ownConnections {
		clients = 1
	}
	for len(b.sns) < clients {
		conn, err := dial(ctx, b.socket)
		if err != nil {
			return err
		}
		b.sns = append(b.sns, proxy.NewSnapshotter(snapshotsapi.NewSnapshotsClient(conn), b.pool))
	}
	return nil
}

func numbers(list string) ([]int, error) {
	var ns []int
	for _, s := range strings.Split(list, ",") {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 {
			return nil, fmt.Errorf("%q is not a list of numbers above 0", list)
		}
		ns = append(ns, n)
	}
	return ns, nil
}

func main() {
	var b bench
	log.SetFlags(0)
	log.SetPrefix("client: ")
	flag.StringVar(&b.socket, "socket", "", "unix socket of the server")
	flag.StringVar(&b.pool, "snapshotter", "default", "snapshotter to name in requests")
	flag.BoolVar(&b.ownConnections, "own-connections", false, "one connection for each client")
	clients := flag.String("clients", "1,16,64", "lifecycle: numbers of clients")
	counts := flag.String("counts", "300,2000,2000", "lifecycle: snapshots for each of these")
	count := flag.Int("count", 1000, "fill, prepare: snapshots")
	repeat := flag.Int("repeat", 5, "list: how often")
	flag.Parse()

	ctx := context.Background()
	if flag.Arg(0) == "start" {
		if err := b.start(ctx, flag.Args()[1:]); err != nil {
			log.Fatal(err)
		}
		return
	}
	if err := b.connect(ctx, 1); err != nil {
		log.Fatal(err)
	}
	err := fmt.Errorf("do what? %q is none of lifecycle, fill, list, prepare, start", flag.Arg(0))
	switch flag.Arg(0) {
	case "lifecycle":
		err = b.lifecycle(ctx, *clients, *counts)
	case "fill":
		err = b.fill(ctx, *count)
	case "list":
		err = b.list(ctx, *repeat)
	case "prepare":
		err = b.prepare(ctx, *count)
	}
	if err != nil {
		log.Fatal(err)
	}
}
