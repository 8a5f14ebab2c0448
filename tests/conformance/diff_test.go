// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/containerd/containerd"
	diffapi "github.com/containerd/containerd/api/services/diff/v1"
	"github.com/containerd/containerd/content"
	"github.com/containerd/containerd/diff"
	"github.com/containerd/containerd/errdefs"
	"github.com/containerd/containerd/mount"
	"github.com/containerd/containerd/namespaces"
	"github.com/containerd/containerd/pkg/testutil"
	"github.com/containerd/containerd/snapshots"
	"github.com/gogo/protobuf/types"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// The diff service, rows L3 to L5 and L7, beside Debian's containerd: its content store has the
// blobs, and its own applier and differ say what is right. That containerd is too old to have
// varved as its differ; these tests call it as a newer one does.

const zstdLayer = ocispec.MediaTypeImageLayer + "+zstd"

// The namespace is one of containerd's: blobs of others are not seen through its service.
var diffCtx = namespaces.WithNamespace(context.Background(), "varve-diff")

// peer is a containerd with a content store, and nothing else that matters here.
type peer struct {
	dir    string
	client *containerd.Client
}

func (p *peer) socket() string  { return filepath.Join(p.dir, "sock") }
func (p *peer) content() string { return filepath.Join(p.dir, "root/io.containerd.content.v1.content") }

func startPeer(t *testing.T) *peer {
	t.Helper()
	dir, err := os.MkdirTemp("", "peer-") // a short path, for the socket
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	p := &peer{dir: dir}
	config := fmt.Sprintf("version = 2\nroot = %q\nstate = %q\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n"+
		"[plugins.\"io.containerd.gc.v1.scheduler\"]\nstartup_delay = \"24h\"\nmutation_threshold = 0\n"+
		"[grpc]\naddress = %q\n[ttrpc]\naddress = %q\n", dir+"/root", dir+"/state", p.socket(), p.socket()+".ttrpc")
	must(t, os.WriteFile(dir+"/config.toml", []byte(config), 0600))
	log, err := os.Create(dir + "/log")
	must(t, err)
	defer log.Close()
	cmd := exec.Command("containerd", "--config", dir+"/config.toml")
	cmd.Stdout, cmd.Stderr = log, log
	must(t, cmd.Start())
	running := filepath.Join(os.TempDir(), fmt.Sprint("server-", cmd.Process.Pid))
	must(t, os.WriteFile(running, nil, 0600))
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		os.Remove(running)
	})
	waitFor(t, "containerd to answer", func() bool {
		p.client, err = containerd.New(p.socket(), containerd.WithTimeout(patience))
		return err == nil
	})
	t.Cleanup(func() { p.client.Close() })
	return p
}

// add puts a blob into the content store.
func (p *peer) add(t *testing.T, mediaType string, blob []byte) ocispec.Descriptor {
	t.Helper()
	desc := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(blob), Size: int64(len(blob))}
	must(t, content.WriteBlob(diffCtx, p.client.ContentStore(), "add-"+desc.Digest.String(), bytes.NewReader(blob), desc))
	return desc
}

func (p *peer) path(desc ocispec.Descriptor) string {
	return filepath.Join(p.content(), "blobs/sha256", desc.Digest.Encoded())
}

func (s *server) differ() containerd.DiffService {
	return containerd.NewDiffServiceFromClient(diffapi.NewDiffClient(s.conn))
}

// withDiff runs a test on a server of each driver, which has its blobs from a directory and then
// from a service.
func withDiff(t *testing.T, test func(t *testing.T, p *peer, s *server, sn snapshots.Snapshotter)) {
	onlyVarve(t, "their differ is another program's part")
	testutil.RequiresRoot(t)
	for _, v := range variants {
		if v.settings != "" {
			continue
		}
		for _, way := range []string{"content", "containerd"} {
			v, way := v, way
			t.Run(v.name+"/"+way, func(t *testing.T) {
				v.available(t)
				p := startPeer(t)
				v.extra = "[diff]\ncontent = " + p.content()
				if way == "containerd" {
					v.extra = "[diff]\ncontainerd = " + p.socket()
				}
				withServer(t, v, func(t *testing.T, s *server, sn snapshots.Snapshotter) { test(t, p, s, sn) })
			})
		}
	}
}

// script runs commands in a directory.
func script(t *testing.T, dir, commands string) {
	t.Helper()
	cmd := exec.Command("/bin/sh", "-euc", commands)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", commands, err, out)
	}
}

// archive makes a tree by commands, and a tar of it with GNU tar.
func archive(t *testing.T, commands string) []byte {
	t.Helper()
	dir := t.TempDir()
	script(t, dir, commands)
	cmd := exec.Command("tar", "--xattrs", "--xattrs-include=*", "--numeric-owner", "--sort=name", "--sparse", "-C", dir, "-c", ".")
	out, err := cmd.Output()
	must(t, err)
	return out
}

func pack(t *testing.T, mediaType string, plain []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	switch {
	case strings.HasSuffix(mediaType, "gzip"):
		w := gzip.NewWriter(&out)
		_, err := w.Write(plain)
		must(t, err)
		must(t, w.Close())
	case strings.HasSuffix(mediaType, "zstd"):
		cmd := exec.Command("zstd", "-q", "-c")
		cmd.Stdin, cmd.Stdout = bytes.NewReader(plain), &out
		must(t, cmd.Run())
	default:
		return plain
	}
	return out.Bytes()
}

// tree tells all about what is in a directory tree that a tar can tell, and the content of its files.
// The root's own attributes are left out: containerd does not take those of a layer.
func tree(t *testing.T, dir string) string {
	t.Helper()
	cmd := exec.Command("/bin/sh", "-euc", `
		find . -mindepth 1 -maxdepth 1 -printf '%P\0' | sort -z |
			tar --null --numeric-owner --sort=name -c -T - | tar --numeric-owner --full-time -tv
		find . -mindepth 1 -print0 | sort -z | xargs -0r getfattr -h -d -m - -e hex
		find . -type f -print0 | sort -z | xargs -0r sha256sum`)
	cmd.Dir = dir
	out, err := cmd.Output()
	must(t, err)
	return string(out)
}

// The layers of an image, lowest first; made once.
var stack = []struct{ mediaType, commands string }{
	{ocispec.MediaTypeImageLayerGzip, `
		mkdir -p a/b c/d gone empty; echo one >a/b/file; echo kept >c/kept; echo lost >c/d/lost
		echo x >gone/x; echo y >y; ln -s a/b link; ln c/kept c/other; chmod 1777 empty
		touch -d @1500000000 y c; touch -d @1500000001.5 a/b/file`},
	{"application/vnd.docker.image.rootfs.diff.tar.gzip", `
		mkdir -p a/b dev odd; echo two >a/b/second; chmod 4755 a/b/second; chown 12:34 a/b/second
		mknod dev/null c 1 3; mkfifo odd/pipe; ln -s ../nowhere odd/link; ln a/b/second odd/hard
		setfattr -n user.note -v text a/b/second; echo able >a/b/able # containerd takes it from hard links
		setfattr -n security.capability -v 0x0100000200040000000000000000000000000000 a/b/able
		truncate -s 1M odd/sparse; printf end >>odd/sparse; chown -h 5:6 odd/link
		head -c 300000 /dev/urandom >odd/big; touch -d @1400000000 dev odd a/b a .`},
	{zstdLayer, `
		touch .wh.gone .wh.y; mkdir -p c a/b; touch c/.wh..wh..opq; echo new >c/new
		touch a/b/.wh.file; mkdir link; echo in >link/in; chmod 700 a; chown 7:8 c
		touch -d @1300000000 c a a/b link .`},
	{ocispec.MediaTypeImageLayer, `
		mkdir -p empty/deep y; echo z >empty/deep/z; echo now a directory >y/file; touch a.txt
		touch -d @1200000000 . y empty empty/deep`},
}

// apply makes a committed snapshot of a layer on a parent.
func apply(t *testing.T, applier diff.Applier, sn snapshots.Snapshotter, name, parent string, desc ocispec.Descriptor) ocispec.Descriptor {
	t.Helper()
	mounts, err := sn.Prepare(ctx, name+"-key", parent)
	must(t, err)
	applied, err := applier.Apply(diffCtx, desc, mounts)
	must(t, err)
	must(t, sn.Commit(ctx, name, name+"-key"))
	return applied
}

func viewTree(t *testing.T, sn snapshots.Snapshotter, name string) (text string) {
	t.Helper()
	view(t, sn, name, func(dir string) { text = tree(t, dir) })
	return text
}

// What Varve makes of a stack of layers is what containerd makes of it.
func TestApply(t *testing.T) {
	withDiff(t, func(t *testing.T, p *peer, s *server, sn snapshots.Snapshotter) {
		ours, theirs := "", ""
		for i, layer := range stack {
			plain := archive(t, layer.commands)
			desc := p.add(t, layer.mediaType, pack(t, layer.mediaType, plain))
			name := fmt.Sprint("layer-", i)
			applied := apply(t, s.differ(), sn, "our-"+name, ours, desc)
			ours = "our-" + name
			want := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Digest: digest.FromBytes(plain), Size: int64(len(plain))}
			if !reflect.DeepEqual(applied, want) {
				t.Errorf("%s: applied %v, want %v", name, applied, want)
			}
			apply(t, p.client.DiffService(), sn, "their-"+name, theirs, desc)
			theirs = "their-" + name
			if got, want := viewTree(t, sn, ours), viewTree(t, sn, theirs); got != want {
				t.Errorf("%s: Varve made\n%s\ncontainerd made\n%s", name, got, want)
			}
		}
	})
}

// A layer that containerd's differ made is taken, and onto a snapshot that has something already.
func TestApplyTheirs(t *testing.T) {
	withDiff(t, func(t *testing.T, p *peer, s *server, sn snapshots.Snapshotter) {
		write(t, sn, "base-key", "", map[string]string{"a/stays": "1", "a/goes": "2", "b": "3"})
		must(t, sn.Commit(ctx, "base", "base-key"))
		upper, err := sn.Prepare(ctx, "changed", "base")
		must(t, err)
		mounted(t, upper, func(dir string) {
			script(t, dir, "rm a/goes b; mkdir b; printf 4 >b/new; ln a/stays a/too; mknod n c 1 7")
		})
		lower, err := sn.View(ctx, "lower", "base")
		must(t, err)
		desc, err := p.client.DiffService().Compare(diffCtx, lower, upper)
		must(t, err)
		must(t, sn.Commit(ctx, "wanted", "changed"))

		apply(t, s.differ(), sn, "ours", "base", desc)
		view(t, sn, "ours", func(dir string) {
			wantFiles(t, dir, map[string]string{"a/stays": "1", "a/too": "1", "b/new": "4"})
		})

		// A second layer into the same active snapshot changes what the first one made.
		mounts, err := sn.Prepare(ctx, "twice", "base")
		must(t, err)
		for _, commands := range []string{
			"mkdir -p a c; printf 5 >a/more; touch .wh.b; printf 6 >c/six",
			"mkdir -p a c b; touch a/.wh.more a/.wh.goes c/.wh..wh..opq; printf 7 >c/seven; printf 8 >b/back",
		} {
			_, err := s.differ().Apply(diffCtx, p.add(t, ocispec.MediaTypeImageLayer, archive(t, commands)), mounts)
			must(t, err)
		}
		must(t, sn.Commit(ctx, "two at once", "twice"))
		view(t, sn, "two at once", func(dir string) {
			wantFiles(t, dir, map[string]string{"a/stays": "1", "b/back": "8", "c/seven": "7"})
		})
	})
}

// What is wrong is refused with the kind of error that containerd goes by.
func TestApplyRefuses(t *testing.T) {
	withDiff(t, func(t *testing.T, p *peer, s *server, sn snapshots.Snapshotter) {
		random := make([]byte, 1<<20)
		file, err := os.Open("/dev/urandom")
		must(t, err)
		defer file.Close()
		_, err = io.ReadFull(file, random)
		must(t, err)
		dir := t.TempDir()
		must(t, os.WriteFile(dir+"/random", random, 0644))
		good := p.add(t, ocispec.MediaTypeImageLayer, archive(t, "cp "+dir+"/random ."))
		packed := pack(t, "gzip", archive(t, "cp "+dir+"/random other"))
		short := p.add(t, ocispec.MediaTypeImageLayerGzip, packed)
		must(t, os.Truncate(p.path(short), short.Size/2))
		bad := p.add(t, ocispec.MediaTypeImageLayer, archive(t, "cp "+dir+"/random bad"))
		script(t, dir, "printf X | dd status=none conv=notrunc bs=1 seek=5000 of="+p.path(bad))
		missing := ocispec.Descriptor{MediaType: good.MediaType, Digest: digest.FromString("nothing"), Size: 7}

		with := func(change func(d *ocispec.Descriptor)) ocispec.Descriptor {
			desc := good
			change(&desc)
			return desc
		}
		mounts, err := sn.Prepare(ctx, "key", "")
		must(t, err)
		data := func(err error) bool { return err != nil && strings.Contains(err.Error(), "should be sha256:") }
		payload := diff.WithPayloads(map[string]*types.Any{"io.example.key": {TypeUrl: "x", Value: []byte("y")}})
		for _, c := range []struct {
			name   string
			desc   ocispec.Descriptor
			mounts []mount.Mount
			is     func(error) bool
			opts   []diff.ApplyOpt
		}{
			{"a missing blob", missing, mounts, errdefs.IsNotFound, nil},
			{"a damaged blob", bad, mounts, data, nil},
			{"a short blob", short, mounts, func(err error) bool { return err != nil }, nil},
			{"an encrypted layer", with(func(d *ocispec.Descriptor) { d.MediaType += "+encrypted" }), mounts, errdefs.IsNotImplemented, nil},
			{"a config", with(func(d *ocispec.Descriptor) { d.MediaType = ocispec.MediaTypeImageConfig }), mounts, errdefs.IsNotImplemented, nil},
			{"no media type", with(func(d *ocispec.Descriptor) { d.MediaType = "" }), mounts, errdefs.IsNotImplemented, nil},
			{"SHA-512", with(func(d *ocispec.Descriptor) { d.Digest = digest.SHA512.FromString("x") }), mounts, errdefs.IsNotImplemented, nil},
			{"no digest", with(func(d *ocispec.Descriptor) { d.Digest = "" }), mounts, errdefs.IsInvalidArgument, nil},
			{"a way out", with(func(d *ocispec.Descriptor) { d.Digest = "sha256:../../../../../../etc/passwd" }), mounts, errdefs.IsInvalidArgument, nil},
			{"a payload", good, mounts, errdefs.IsNotImplemented, []diff.ApplyOpt{payload}},
			{"no mount", good, nil, errdefs.IsInvalidArgument, nil},
			{"two mounts", good, append(mounts, mounts...), errdefs.IsNotImplemented, nil},
			{"ext4", good, []mount.Mount{{Type: "ext4", Source: "/dev/sda1"}}, errdefs.IsNotImplemented, nil},
			{"a relative path", good, []mount.Mount{{Type: "bind", Source: "tmp", Options: []string{"rbind"}}}, errdefs.IsInvalidArgument, nil},
			{"no lower directory", good, []mount.Mount{{Type: "overlay", Source: "overlay", Options: []string{"upperdir=/tmp"}}}, errdefs.IsInvalidArgument, nil},
			{"no source", good, []mount.Mount{{Type: "bind", Source: s.dir + "/none", Options: []string{"rbind"}}}, errdefs.IsNotFound, nil},
		} {
			if _, err := s.differ().Apply(diffCtx, c.desc, c.mounts, c.opts...); !c.is(err) {
				t.Errorf("%s: %v", c.name, err)
			}
		}

		readOnly, err := sn.View(ctx, "view", "")
		must(t, err)
		if _, err := s.differ().Apply(diffCtx, good, readOnly); err == nil || !strings.Contains(err.Error(), "Read-only") {
			t.Errorf("into a view: %v", err)
		}
		must(t, sn.Remove(ctx, "key"))
		apply(t, s.differ(), sn, "after all", "", good)
	})
}

// Many layers at the same time do not disturb each other.
func TestApplyAtTheSameTime(t *testing.T) {
	withDiff(t, func(t *testing.T, p *peer, s *server, sn snapshots.Snapshotter) {
		const n = 8
		var descs [n]ocispec.Descriptor
		for i := range descs {
			plain := archive(t, fmt.Sprintf("mkdir d; seq %d0000 %d9999 >d/numbers; touch -d @1 d .", i+1, i+1))
			descs[i] = p.add(t, ocispec.MediaTypeImageLayerGzip, pack(t, "gzip", plain))
		}
		failures := make(chan error, n)
		for i := range descs {
			go func(i int) {
				mounts, err := sn.Prepare(ctx, fmt.Sprint("key-", i), "")
				if err == nil {
					_, err = s.differ().Apply(diffCtx, descs[i], mounts)
				}
				if err == nil {
					err = sn.Commit(ctx, fmt.Sprint("layer-", i), fmt.Sprint("key-", i))
				}
				failures <- err
			}(i)
		}
		for range descs {
			must(t, <-failures)
		}
		for i := range descs {
			view(t, sn, fmt.Sprint("layer-", i), func(dir string) {
				text, err := os.ReadFile(dir + "/d/numbers")
				must(t, err)
				if !strings.HasPrefix(string(text), fmt.Sprintf("%d0000\n", i+1)) {
					t.Errorf("layer %d has %.10q", i, text)
				}
			})
		}
	})
}

// waitFor waits until something is so.
func waitFor(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for begin := time.Now(); !condition(); time.Sleep(time.Millisecond) {
		if time.Since(begin) > patience {
			t.Fatalf("waited for %s", what)
		}
	}
}
