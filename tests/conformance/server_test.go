// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	snapshotsapi "github.com/containerd/containerd/api/services/snapshots/v1"
	"github.com/containerd/containerd/errdefs"
	"github.com/containerd/containerd/mount"
	"github.com/containerd/containerd/pkg/dialer"
	"github.com/containerd/containerd/snapshots"
	"github.com/containerd/containerd/snapshots/proxy"
	"google.golang.org/grpc"
)

// The program under test, and the one that serves containerd's own snapshotters. With the second
// one given, the tests run against that: it shows which of them containerd itself passes.
var (
	varvedPath = os.Getenv("VARVED")
	peerPath   = os.Getenv("PEER")
)

// Sanitizers make a server some times slower.
const patience = 60 * time.Second

// onlyVarve skips a test, or the rest of one, of what containerd's snapshotters do otherwise.
func onlyVarve(t *testing.T, theirs string) {
	t.Helper()
	if peerPath != "" {
		t.Skip("containerd's own snapshotters: " + theirs)
	}
}

// pool is a section of the configuration file.
type pool struct {
	name     string
	driver   string
	settings string // further lines
}

func (p pool) setting(name string) string {
	for _, line := range strings.Split(p.settings, "\n") {
		if strings.HasPrefix(line, name+" = ") {
			return strings.TrimPrefix(line, name+" = ")
		}
	}
	return ""
}

// server is a running snapshot service with all that it has in one directory.
type server struct {
	dir   string
	pools []pool
	extra string // further lines of the configuration's [varved] section
	cmd   *exec.Cmd
	ended chan error
	conn  *grpc.ClientConn
	fresh map[string]bool // what was on disk before the first snapshot
}

func (s *server) socket() string { return filepath.Join(s.dir, "socket") }
func (s *server) root() string   { return filepath.Join(s.dir, "varve") }

func (s *server) command() (*exec.Cmd, error) {
	if peerPath != "" {
		return exec.Command(peerPath, "-kind", s.pools[0].driver, "-root", s.root(),
			"-socket", s.socket()), nil
	}
	var text strings.Builder
	fmt.Fprintf(&text, "[varved]\n%s\n", s.extra)
	for _, p := range s.pools {
		fmt.Fprintf(&text, "[pool %s]\ndriver = %s\n%s\n", p.name, p.driver, p.settings)
	}
	config := filepath.Join(s.dir, "varved.conf")
	if err := os.WriteFile(config, []byte(text.String()), 0600); err != nil {
		return nil, err
	}
	return exec.Command(varvedPath, "--root", s.root(), "--socket", s.socket(), "--config", config), nil
}

// start runs the server until it answers.
func (s *server) start(ctx context.Context) error {
	cmd, err := s.command()
	if err != nil {
		return err
	}
	output, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0600)
	if err != nil {
		return err
	}
	defer output.Close()
	cmd.Stdout, cmd.Stderr = output, output
	if err := cmd.Start(); err != nil {
		return err
	}
	s.cmd, s.ended = cmd, make(chan error, 1)
	running := filepath.Join(os.TempDir(), fmt.Sprint("server-", cmd.Process.Pid))
	if err := os.WriteFile(running, nil, 0600); err != nil { // so that run ends it if this dies
		return err
	}
	go func() {
		err := cmd.Wait()
		os.Remove(running)
		s.ended <- err
	}()
	if err := s.connect(ctx); err != nil {
		return s.failed(err)
	}
	return nil
}

func (s *server) connect(ctx context.Context) error {
	for begin := time.Now(); ; time.Sleep(time.Millisecond) {
		conn, err := net.Dial("unix", s.socket())
		if err == nil {
			conn.Close()
			break
		}
		select {
		case err := <-s.ended:
			s.ended <- err
			return fmt.Errorf("the server ended at once: %w", err)
		default:
		}
		if time.Since(begin) > patience {
			return fmt.Errorf("the server takes no connection: %w", err)
		}
	}
	conn, err := grpc.DialContext(ctx, dialer.DialAddress(s.socket()), grpc.WithInsecure(),
		grpc.WithBlock(), grpc.WithContextDialer(dialer.ContextDialer))
	if err != nil {
		return err
	}
	s.conn = conn
	if peerPath != "" {
		return s.prime(ctx)
	}
	if _, err := s.sn(s.pools[0].name).Stat(ctx, "ready?"); !errdefs.IsNotFound(err) {
		return fmt.Errorf("asking for a snapshot that is not there: %w", err)
	}
	return nil
}

// prime makes the peer's database, without which it cannot even list nothing.
func (s *server) prime(ctx context.Context) error {
	sn := s.sn("")
	if _, err := sn.Prepare(ctx, "prime", ""); err != nil {
		return err
	}
	return sn.Remove(ctx, "prime")
}

// failed adds what the server said to an error.
func (s *server) failed(err error) error {
	said, _ := os.ReadFile(filepath.Join(s.dir, "log"))
	return fmt.Errorf("%w\n%s", err, said)
}

// stop ends the server as an administrator does, and checks that it ends well and in time.
func (s *server) stop() error {
	if s.conn != nil {
		s.conn.Close()
		s.conn = nil
	}
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return s.failed(err)
	}
	select {
	case err := <-s.ended:
		if err != nil {
			return s.failed(fmt.Errorf("the server ended badly: %w", err))
		}
		return nil
	case <-time.After(patience):
		_ = s.cmd.Process.Kill()
		return s.failed(errors.New("the server did not end when it was told to"))
	}
}

func (s *server) client() snapshotsapi.SnapshotsClient {
	return snapshotsapi.NewSnapshotsClient(s.conn)
}

func (s *server) sn(pool string) snapshots.Snapshotter {
	return proxy.NewSnapshotter(s.client(), pool)
}

// launch starts a server on an empty directory.
func launch(ctx context.Context, dir, extra string, pools ...pool) (*server, error) {
	s := &server{dir: dir, extra: extra, pools: pools}
	if err := s.start(ctx); err != nil {
		return nil, err
	}
	var err error
	if s.fresh, err = s.files(); err != nil {
		_ = s.stop()
		return nil, err
	}
	return s, nil
}

// finish removes every snapshot, stops the server and checks that neither a file nor a mount of
// theirs is left.
func (s *server) finish() error {
	err := s.empty(context.Background())
	if serr := s.stop(); err == nil {
		err = serr
	}
	if merr := s.unmounted(); err == nil {
		err = merr
	}
	return err
}

func (s *server) empty(ctx context.Context) error {
	for _, p := range s.pools {
		sn := s.sn(p.name)
		if err := removeAll(ctx, sn); err != nil {
			return err
		}
		err := sn.(snapshots.Cleaner).Cleanup(ctx)
		if err != nil && !(peerPath != "" && errdefs.IsNotImplemented(err)) {
			return err
		}
	}
	now, err := s.files()
	if err != nil {
		return err
	}
	for path := range now {
		if !s.fresh[path] {
			return fmt.Errorf("%s is left although all snapshots are removed", path)
		}
	}
	return nil
}

// removeAll removes all snapshots of a pool, children first.
func removeAll(ctx context.Context, sn snapshots.Snapshotter) error {
	parents, children := map[string]string{}, map[string]int{}
	err := sn.Walk(ctx, func(_ context.Context, info snapshots.Info) error {
		parents[info.Name] = info.Parent
		children[info.Parent]++
		return nil
	})
	for err == nil && len(parents) > 0 {
		for name, parent := range parents {
			if children[name] > 0 {
				continue
			}
			if err = sn.Remove(ctx, name); err != nil {
				break
			}
			children[parent]--
			delete(parents, name)
		}
	}
	return err
}

// files lists what there is below the root and, on zfs, in the pool's dataset; but not the peer's
// database, which it makes when it likes, and on btrfs not folders: snapshots are subvolumes there,
// whose roots have this inode number.
func (s *server) files() (map[string]bool, error) {
	const subvolumeRoot = 256
	btrfs := s.pools[0].driver == "btrfs"
	found := map[string]bool{}
	err := filepath.Walk(s.root(), func(path string, info os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		folder := info.IsDir() && info.Sys().(*syscall.Stat_t).Ino != subvolumeRoot
		if info.Name() != "metadata.db" && !(btrfs && folder) {
			found[path] = true
		}
		return nil
	})
	if dataset := s.pools[0].setting("dataset"); dataset != "" && err == nil {
		var out []byte
		out, err = exec.Command("zfs", "list", "-H", "-r", "-t", "all", "-o", "name", dataset).Output()
		for _, name := range strings.Fields(string(out)) {
			found[name] = true
		}
	}
	return found, err
}

// unmounted checks that nothing is mounted below the server's directory.
func (s *server) unmounted() error {
	infos, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	for _, line := range strings.Split(string(infos), "\n") {
		fields := strings.Fields(line)
		if len(fields) > 4 && strings.HasPrefix(fields[4], s.dir+"/") {
			return fmt.Errorf("still mounted: %s", line)
		}
	}
	return nil
}

// mounted runs check on a mounted snapshot.
func mounted(t *testing.T, mounts []mount.Mount, check func(dir string)) {
	t.Helper()
	err := mount.WithTempMount(context.Background(), mounts, func(dir string) error {
		check(dir)
		return nil
	})
	if err != nil {
		t.Fatalf("mounting %v: %v", mounts, err)
	}
}
