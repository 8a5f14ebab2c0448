// SPDX-License-Identifier: Apache-2.0

// Command walker finds what differs between two directories as containerd does, by
// continuity/fs.Changes, again and again. It prints for each time how long it took and how many
// changes there were, as a line of JSON.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/containerd/continuity/fs"
)

func main() {
	repeat := flag.Int("repeat", 1, "how often")
	flag.Parse()
	log.SetFlags(0)
	if flag.NArg() != 2 {
		log.Fatal("usage: walker [-repeat N] PARENT SNAPSHOT")
	}
	for i := 0; i < *repeat; i++ {
		changes := 0
		count := func(kind fs.ChangeKind, path string, info os.FileInfo, err error) error {
			if kind != fs.ChangeKindUnmodified {
				changes++
			}
			return err
		}
		begin := time.Now()
		if err := fs.Changes(context.Background(), flag.Arg(0), flag.Arg(1), count); err != nil {
			log.Fatalf("walker: %v", err)
		}
		fmt.Printf("{\"seconds\": %.9f, \"changes\": %d}\n", time.Since(begin).Seconds(), changes)
	}
}
