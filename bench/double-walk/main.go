// SPDX-License-Identifier: Apache-2.0

// Command double-walk makes a layer of what differs between two directories as containerd's diff
// service does: its walking differ mounts both, walks both, and puts a tar with gzip into a content
// store of its own. Prints how long that took and the size of the layer as JSON.
package main

import (
	"context"
	_ "crypto/sha256" // the digests are of it
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/containerd/containerd/content/local"
	"github.com/containerd/containerd/diff/walking"
	"github.com/containerd/containerd/mount"
	digest "github.com/opencontainers/go-digest"
)

// labels keeps the labels of blobs in memory; containerd keeps them in its database.
type labels map[digest.Digest]map[string]string

func (l labels) Get(d digest.Digest) (map[string]string, error) { return l[d], nil }

func (l labels) Set(d digest.Digest, set map[string]string) error {
	l[d] = set
	return nil
}

func (l labels) Update(d digest.Digest, update map[string]string) (map[string]string, error) {
	if l[d] == nil {
		l[d] = map[string]string{}
	}
	for key, value := range update {
		l[d][key] = value
	}
	return l[d], nil
}

func bound(directory string) []mount.Mount {
	return []mount.Mount{{Type: "bind", Source: directory, Options: []string{"rbind", "ro"}}}
}

func main() {
	log.SetFlags(0)
	flag.Parse()
	if flag.NArg() != 3 {
		log.Fatal("usage: double-walk STORE PARENT SNAPSHOT")
	}
	store, err := local.NewLabeledStore(flag.Arg(0), labels{})
	if err != nil {
		log.Fatalf("double-walk: %v", err)
	}
	begin := time.Now()
	layer, err := walking.NewWalkingDiff(store).Compare(context.Background(), bound(flag.Arg(1)),
		bound(flag.Arg(2)))
	if err != nil {
		log.Fatalf("double-walk: %v", err)
	}
	seconds := time.Since(begin).Seconds()
	told := map[string]interface{}{"seconds": seconds, "size": layer.Size}
	line, err := json.Marshal(told)
	if err != nil {
		log.Fatalf("double-walk: %v", err)
	}
	fmt.Fprintln(os.Stdout, string(line))
}
