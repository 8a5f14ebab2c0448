// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	contentapi "github.com/containerd/containerd/api/services/content/v1"
	diffapi "github.com/containerd/containerd/api/services/diff/v1"
	"github.com/containerd/containerd/api/types"
	"github.com/containerd/containerd/archive/compression"
	"github.com/containerd/containerd/content"
	"github.com/containerd/containerd/diff"
	"github.com/containerd/containerd/errdefs"
	"github.com/containerd/containerd/mount"
	"github.com/containerd/containerd/pkg/testutil"
	"github.com/containerd/containerd/snapshots"
	gogo "github.com/gogo/protobuf/types"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"google.golang.org/grpc"
)

const uncompressed = "containerd.io/uncompressed"

// withWriter runs a test on a server of each driver that has a content service.
func withWriter(t *testing.T, test func(t *testing.T, p *peer, s *server, sn snapshots.Snapshotter)) {
	onlyVarve(t, "their differ is another program's part")
	testutil.RequiresRoot(t)
	for _, v := range variants {
		if v.settings != "" {
			continue
		}
		v := v
		t.Run(v.name, func(t *testing.T) {
			v.available(t)
			p := startPeer(t)
			v.extra = "[diff]\ncontainerd = " + p.socket()
			withServer(t, v, func(t *testing.T, s *server, sn snapshots.Snapshotter) { test(t, p, s, sn) })
		})
	}
}

// change makes a base and an active snapshot that differs from it, and returns the mounts of both.
func change(t *testing.T, sn snapshots.Snapshotter) (lower, upper []mount.Mount) {
	t.Helper()
	mounts, err := sn.Prepare(ctx, "base-key", "")
	must(t, err)
	mounted(t, mounts, func(dir string) {
		script(t, dir, `
			mkdir -p a/b moved gone replaced emptied/x deep/er/still same; echo 1 >a/b/one; echo 2 >a/two
			echo 3 >moved/three; echo 4 >gone/four; echo 5 >replaced/five; echo 6 >emptied/x/six
			echo 7 >deep/er/still/seven; ln a/two a/two-too; echo 8 >file; ln -s a link; echo 9 >same/nine
			echo long enough to be cut >cut; echo x >mode; touch -d @1500000000 mode`)
	})
	must(t, sn.Commit(ctx, "base", "base-key"))
	lower, err = sn.View(ctx, "lower", "base")
	must(t, err)
	upper, err = sn.Prepare(ctx, "upper", "base")
	must(t, err)
	mounted(t, upper, func(dir string) {
		script(t, dir, `
			mv moved elsewhere; rm -r gone replaced; echo now a file >replaced; rm -r emptied/x
			echo more >>deep/er/still/seven; rm file; mkdir file; echo in >file/in; ln -sfn deep link
			ln a/two a/three; truncate -s 4 cut; chmod 4711 mode; chown 3:4 a; mknod null c 1 3; mkfifo pipe
			setfattr -n user.note -v hello a/b/one; rm -r same; mkdir same; echo 10 >same/ten
			touch -d @1600000000.25 a/b/one; head -c 3000000 /dev/urandom >big`)
	})
	return lower, upper
}

func (p *peer) labels(t *testing.T, desc ocispec.Descriptor) map[string]string {
	t.Helper()
	info, err := p.client.ContentStore().Info(diffCtx, desc.Digest)
	must(t, err)
	if info.Size != desc.Size {
		t.Errorf("the blob has %d bytes, %d were told", info.Size, desc.Size)
	}
	return info.Labels
}

// plain reads a blob and returns the digest of the tar in it.
func (p *peer) plain(t *testing.T, desc ocispec.Descriptor) digest.Digest {
	t.Helper()
	blob, err := content.ReadBlob(diffCtx, p.client.ContentStore(), desc)
	must(t, err)
	if got := digest.FromBytes(blob); got != desc.Digest {
		t.Errorf("the blob's digest is %v, %v was told", got, desc.Digest)
	}
	stream, err := compression.DecompressStream(bytes.NewReader(blob))
	must(t, err)
	defer stream.Close()
	found, err := digest.FromReader(stream)
	must(t, err)
	return found
}

func (p *peer) wantNoIngests(t *testing.T) {
	t.Helper()
	statuses, err := p.client.ContentStore().ListStatuses(diffCtx)
	must(t, err)
	if len(statuses) != 0 {
		t.Errorf("unfinished blobs are left: %+v", statuses)
	}
}

// Row L4: what Varve makes of two snapshots, containerd makes the second one of again.
func TestDiff(t *testing.T) {
	withWriter(t, func(t *testing.T, p *peer, s *server, sn snapshots.Snapshotter) {
		lower, upper := change(t, sn)
		want := ""
		mounted(t, upper, func(dir string) { want = tree(t, dir) })
		for _, mediaType := range []string{"", ocispec.MediaTypeImageLayer, ocispec.MediaTypeImageLayerGzip, zstdLayer} {
			opts := []diff.Opt{diff.WithMediaType(mediaType), diff.WithLabels(map[string]string{"note": "kept"})}
			desc, err := s.differ().Compare(diffCtx, lower, upper, opts...)
			must(t, err)
			expected := mediaType
			if mediaType == "" {
				expected = ocispec.MediaTypeImageLayerGzip
			}
			if desc.MediaType != expected {
				t.Errorf("asked for %q, got %q", mediaType, desc.MediaType)
			}
			plain := p.plain(t, desc)
			if labels := p.labels(t, desc); !equal(labels, map[string]string{uncompressed: plain.String(), "note": "kept"}) {
				t.Errorf("%q: labels %v, of a tar that is %v", mediaType, labels, plain)
			}
			again, err := s.differ().Compare(diffCtx, lower, upper, opts...)
			must(t, err)
			if again.Digest != desc.Digest {
				t.Errorf("%q: %v, and then %v", mediaType, desc.Digest, again.Digest)
			}
			name := "again " + mediaType
			if applied := apply(t, p.client.DiffService(), sn, name, "base", desc); applied.Digest != plain {
				t.Errorf("%q: containerd applied %v, not %v", mediaType, applied.Digest, plain)
			}
			if got := viewTree(t, sn, name); got != want {
				t.Errorf("%q: containerd made\n%s\nthere was\n%s", mediaType, got, want)
			}
			must(t, sn.Remove(ctx, name))
		}
		p.wantNoIngests(t)

		// Without anything below it is all there is.
		desc, err := s.differ().Compare(diffCtx, nil, upper)
		must(t, err)
		apply(t, p.client.DiffService(), sn, "all", "", desc)
		if got := viewTree(t, sn, "all"); got != want {
			t.Errorf("containerd made\n%s\nthere was\n%s", got, want)
		}
	})
}

// The snapshot may be mounted, and nothing of it changes.
func TestDiffOfWhatIsMounted(t *testing.T) {
	withWriter(t, func(t *testing.T, p *peer, s *server, sn snapshots.Snapshotter) {
		lower, upper := change(t, sn)
		mounted(t, upper, func(dir string) {
			before := tree(t, dir)
			desc, err := s.differ().Compare(diffCtx, lower, upper)
			must(t, err)
			if after := tree(t, dir); after != before {
				t.Errorf("there was\n%s\nand is\n%s", before, after)
			}
			script(t, dir, "echo still writable >written")
			other, err := s.differ().Compare(diffCtx, lower, upper)
			must(t, err)
			if other.Digest == desc.Digest {
				t.Error("what was written is not in the layer")
			}
		})
	})
}

// How a blob comes into containerd's store: under the name that was asked for, also where an attempt
// was there before, or the blob itself.
func TestDiffReferences(t *testing.T) {
	withWriter(t, func(t *testing.T, p *peer, s *server, sn snapshots.Snapshotter) {
		lower, upper := change(t, sn)
		store := p.client.ContentStore()
		w, err := store.Writer(diffCtx, content.WithRef("mine"))
		must(t, err)
		_, err = w.Write([]byte("of an attempt before"))
		must(t, err)
		must(t, w.Close())
		desc, err := s.differ().Compare(diffCtx, lower, upper, diff.WithReference("mine"))
		must(t, err)
		plain := p.plain(t, desc)
		p.wantNoIngests(t)

		blob, err := content.ReadBlob(diffCtx, store, desc)
		must(t, err)
		must(t, store.Delete(diffCtx, desc.Digest))
		p.add(t, desc.MediaType, blob)
		if labels := p.labels(t, desc); len(labels) != 0 {
			t.Fatalf("the blob has labels already: %v", labels)
		}
		_, err = s.differ().Compare(diffCtx, lower, upper, diff.WithReference("mine"))
		must(t, err)
		if labels := p.labels(t, desc); !equal(labels, map[string]string{uncompressed: plain.String()}) {
			t.Errorf("labels of a blob that was there: %v", labels)
		}
		p.wantNoIngests(t)
	})
}

func TestDiffRefuses(t *testing.T) {
	withWriter(t, func(t *testing.T, p *peer, s *server, sn snapshots.Snapshotter) {
		lower, upper := change(t, sn)
		mounted(t, upper, func(dir string) { script(t, dir, "touch zz.wh.x; mkdir zz; touch zz/.wh.x") })
		for _, c := range []struct {
			name         string
			lower, upper []mount.Mount
			mediaType    string
			is           func(error) bool
		}{
			{"a name that no layer has", lower, upper, "", errdefs.IsFailedPrecondition},
			{"another media type", lower, lower, "application/vnd.docker.image.rootfs.diff.tar.gzip", errdefs.IsNotImplemented},
			{"no mount", lower, nil, "", errdefs.IsInvalidArgument},
			{"ext4", []mount.Mount{{Type: "ext4", Source: "/dev/sda1"}}, upper, "", errdefs.IsNotImplemented},
		} {
			_, err := s.differ().Compare(diffCtx, c.lower, c.upper, diff.WithMediaType(c.mediaType))
			if !c.is(err) {
				t.Errorf("%s: %v", c.name, err)
			}
		}
		p.wantNoIngests(t)
	})
}

// SOURCE_DATE_EPOCH, which this containerd's messages do not have yet: no time is later, and two
// snapshots that differ in times only give the same layer.
func TestDiffSourceDateEpoch(t *testing.T) {
	withWriter(t, func(t *testing.T, p *peer, s *server, sn snapshots.Snapshotter) {
		const epoch = 1234567890
		commit(t, sn, "empty", "")
		lower, err := sn.View(ctx, "view", "empty")
		must(t, err)
		digests := map[string]bool{}
		for _, name := range []string{"first", "second"} {
			upper, err := sn.Prepare(ctx, name, "empty")
			must(t, err)
			mounted(t, upper, func(dir string) {
				script(t, dir, "mkdir d; echo x >d/new; echo y >d/old; touch -d @1000000000 d/old")
				if name == "second" {
					script(t, dir, "touch -d @2000000000 d/new d .")
				}
			})
			// Field 6, a message of 5 and more bytes: field 1, a varint.
			timestamp := binary.AppendUvarint([]byte{1 << 3}, epoch)
			request := &diffapi.DiffRequest{Left: wireMounts(lower), Right: wireMounts(upper), MediaType: ocispec.MediaTypeImageLayer,
				XXX_unrecognized: append([]byte{6<<3 | 2, byte(len(timestamp))}, timestamp...)}
			response, err := diffapi.NewDiffClient(s.conn).Diff(diffCtx, request)
			must(t, err)
			digests[response.Diff.Digest.String()] = true
			desc := ocispec.Descriptor{MediaType: response.Diff.MediaType, Digest: response.Diff.Digest, Size: response.Diff.Size_}
			apply(t, p.client.DiffService(), sn, "applied "+name, "empty", desc)
			view(t, sn, "applied "+name, func(dir string) {
				for file, want := range map[string]int64{"d/new": epoch, "d/old": 1000000000, "d": epoch} {
					info, err := os.Stat(filepath.Join(dir, file))
					must(t, err)
					if got := info.ModTime().Unix(); got != want {
						t.Errorf("%s is of %d, want %d", file, got, want)
					}
				}
			})
		}
		if len(digests) != 1 {
			t.Errorf("the layers differ: %v", digests)
		}
	})
}

func wireMounts(mounts []mount.Mount) (wire []*types.Mount) {
	for _, m := range mounts {
		wire = append(wire, &types.Mount{Type: m.Type, Source: m.Source, Options: m.Options})
	}
	return wire
}

// What is not configured is not implemented, so that containerd goes on to its next differ.
func TestDiffUnconfigured(t *testing.T) {
	onlyVarve(t, "their differ is another program's part")
	testutil.RequiresRoot(t)
	for name, extra := range map[string]string{"nothing": "", "content": "[diff]\ncontent = /tmp"} {
		v := variants[0]
		v.extra = extra
		t.Run(name, func(t *testing.T) {
			withServer(t, v, func(t *testing.T, s *server, sn snapshots.Snapshotter) {
				lower, upper := change(t, sn)
				if _, err := s.differ().Compare(diffCtx, lower, upper); !errdefs.IsNotImplemented(err) {
					t.Errorf("diff: %v", err)
				}
				desc := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Digest: digest.FromString("x")}
				_, err := s.differ().Apply(diffCtx, desc, upper)
				if is := errdefs.IsNotImplemented(err); is != (extra == "") {
					t.Errorf("apply: %v", err)
				}
			})
		})
	}
}

// --- calls that end early -----------------------------------------------------------------------

// staller is a content service that gives half of a blob, takes half of one, and says nothing more
// until whoever asked has gone.
type staller struct {
	contentapi.ContentServer
	blob         []byte
	begun, ended chan bool
	aborted      chan string
}

func (s *staller) stall(ctx context.Context) error {
	s.begun <- true
	<-ctx.Done()
	s.ended <- true
	return ctx.Err()
}

func (s *staller) Read(_ *contentapi.ReadContentRequest, stream contentapi.Content_ReadServer) error {
	const piece = 100000
	for at := 0; at < len(s.blob)/2; at += piece {
		if err := stream.Send(&contentapi.ReadContentResponse{Offset: int64(at), Data: s.blob[at : at+piece]}); err != nil {
			return err
		}
	}
	return s.stall(stream.Context())
}

func (s *staller) Write(stream contentapi.Content_WriteServer) error {
	if _, err := stream.Recv(); err != nil {
		return err
	}
	return s.stall(stream.Context())
}

func (s *staller) Abort(_ context.Context, r *contentapi.AbortRequest) (*gogo.Empty, error) {
	s.aborted <- r.Ref
	return &gogo.Empty{}, nil
}

func startStaller(t *testing.T) (*staller, string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "staller-")
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	listener, err := net.Listen("unix", dir+"/sock")
	must(t, err)
	s := &staller{begun: make(chan bool, 1), ended: make(chan bool, 1), aborted: make(chan string, 1)}
	s.blob = archive(t, "for i in 1 2 3 4 5 6 7 8; do mkdir $i; head -c 1000000 /dev/urandom >$i/file; done")
	g := grpc.NewServer()
	contentapi.RegisterContentServer(g, s)
	go func() { _ = g.Serve(listener) }()
	t.Cleanup(g.Stop)
	return s, dir + "/sock"
}

// idle tells whether the server has neither a thread that works on a layer nor a file of a snapshot
// open.
func (s *server) idle(t *testing.T) bool {
	proc := filepath.Join("/proc", fmt.Sprint(s.cmd.Process.Pid))
	threads, err := filepath.Glob(proc + "/task/*/comm")
	must(t, err)
	for _, thread := range threads {
		name, _ := os.ReadFile(thread)
		if strings.HasPrefix(string(name), "layer-") || strings.HasPrefix(string(name), "pack-") {
			return false
		}
	}
	fds, err := filepath.Glob(proc + "/fd/*")
	must(t, err)
	for _, fd := range fds {
		target, _ := os.Readlink(fd)
		if strings.HasSuffix(target, "/file") || target == "/" {
			return false
		}
	}
	return true
}

// eachStall begins an Apply and a Diff on each driver, which get stuck half-way, and has them ended.
func eachStall(t *testing.T, end func(t *testing.T, s *server, st *staller, cancel func())) {
	onlyVarve(t, "their differ is another program's part")
	testutil.RequiresRoot(t)
	for _, v := range variants {
		if v.settings != "" {
			continue
		}
		for _, what := range []string{"apply", "diff"} {
			v, what := v, what
			t.Run(v.name+"/"+what, func(t *testing.T) {
				v.available(t)
				st, socket := startStaller(t)
				v.extra = "[diff]\ncontainerd = " + socket
				withServer(t, v, func(t *testing.T, s *server, sn snapshots.Snapshotter) {
					lower, upper := change(t, sn)
					ctx, cancel := context.WithCancel(diffCtx)
					defer cancel()
					result := make(chan error, 1)
					go func() {
						desc := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Digest: digest.FromBytes(st.blob)}
						var err error
						if what == "apply" {
							_, err = s.differ().Apply(ctx, desc, upper)
						} else {
							_, err = s.differ().Compare(ctx, lower, upper)
						}
						result <- err
					}()
					<-st.begun
					if s.idle(t) {
						t.Fatal("the server looks idle while it works")
					}
					end(t, s, st, cancel)
					if err := <-result; err == nil {
						t.Error("the call went well")
					}
					<-st.ended
				})
			})
		}
	}
}

// A call whose client goes away is given up: no thread works on, nothing is mounted or open, and the
// snapshot can be removed (withServer does).
func TestCancelledCalls(t *testing.T) {
	eachStall(t, func(t *testing.T, s *server, st *staller, cancel func()) {
		cancel()
		waitFor(t, "the server to be idle", func() bool { return s.idle(t) })
		if strings.HasSuffix(t.Name(), "/diff") {
			if ref := <-st.aborted; !strings.HasPrefix(ref, "varve-") {
				t.Errorf("gave up %q", ref)
			}
		}
	})
}

// A killed server leaves no mount: the next one removes the snapshots.
func TestKilledAmidACall(t *testing.T) {
	eachStall(t, func(t *testing.T, s *server, st *staller, cancel func()) {
		must(t, s.cmd.Process.Kill())
		<-s.ended
		must(t, s.unmounted())
		s.conn.Close()
		must(t, s.start(context.Background()))
	})
}
