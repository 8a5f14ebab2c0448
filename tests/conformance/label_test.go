// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"context"
	"fmt"
	"math/rand"
	"os"
	"sort"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/containerd/containerd/errdefs"
	"github.com/containerd/containerd/filters"
	"github.com/containerd/containerd/snapshots"
)

func wantLabels(t *testing.T, sn snapshots.Snapshotter, key string, want map[string]string) {
	t.Helper()
	info, err := sn.Stat(ctx, key)
	must(t, err)
	if !equal(info.Labels, want) {
		t.Errorf("labels of %q: %v, want %v", key, info.Labels, want)
	}
}

// Row S7: labels are kept as given, with any bytes, but not with empty values; a commit does not
// inherit them. (What containerd passes down with a prefix of its own are labels like others here.)
func TestLabels(t *testing.T) {
	eachDriver(t, func(t *testing.T, s *server, sn snapshots.Snapshotter) {
		given := map[string]string{
			"empty":                         "",
			"containerd.io/snapshot.ref":    "sha256:0123",
			"containerd.io/snapshot/remote": "yes",
			"ключ \"quoted\"\n":             "värde\twith = , and \\",
		}
		kept := map[string]string{}
		for k, v := range given {
			if v != "" {
				kept[k] = v
			}
		}
		prepare(t, sn, "active", "", snapshots.WithLabels(given))
		wantLabels(t, sn, "active", kept)
		must(t, sn.Commit(ctx, "plain", "active"))
		wantLabels(t, sn, "plain", nil)

		prepare(t, sn, "active", "plain", snapshots.WithLabels(map[string]string{"of": "the key"}))
		must(t, sn.Commit(ctx, "labelled", "active", snapshots.WithLabels(given)))
		wantLabels(t, sn, "labelled", kept)

		_, err := sn.View(ctx, "view", "labelled", snapshots.WithLabels(given))
		must(t, err)
		wantLabels(t, sn, "view", kept)
	})
}

// Row S6: an update changes what its field mask names, and nothing else.
func TestUpdate(t *testing.T) {
	eachDriver(t, func(t *testing.T, s *server, sn snapshots.Snapshotter) {
		commit(t, sn, "base", "")
		prepare(t, sn, "key", "base", snapshots.WithLabels(map[string]string{"a": "1", "b.c/d": "2"}))
		before, err := sn.Stat(ctx, "key")
		must(t, err)
		update := func(labels map[string]string, fields ...string) error {
			info, err := sn.Update(ctx, snapshots.Info{
				Name: "key", Parent: "x", Kind: snapshots.KindCommitted, Labels: labels,
			}, fields...)
			if err == nil && (info.Name != "key" || info.Parent != "base" || info.Kind != snapshots.KindActive ||
				info.Created != before.Created || !info.Updated.After(before.Updated)) {
				t.Errorf("update of %v: %+v", fields, info)
			}
			return err
		}

		must(t, update(map[string]string{"a": "new", "x": "ignored"}, "labels.a"))
		wantLabels(t, sn, "key", map[string]string{"a": "new", "b.c/d": "2"})
		must(t, update(map[string]string{"b.c/d": "3", "e": "4"}, "labels.b.c/d", "labels.e"))
		wantLabels(t, sn, "key", map[string]string{"a": "new", "b.c/d": "3", "e": "4"})
		must(t, update(map[string]string{"e": ""}, "labels.a", "labels.e"))
		wantLabels(t, sn, "key", map[string]string{"b.c/d": "3"})
		must(t, update(map[string]string{"f": "5"}, "labels"))
		wantLabels(t, sn, "key", map[string]string{"f": "5"})
		must(t, update(map[string]string{"g": "6", "h": ""}))
		wantLabels(t, sn, "key", map[string]string{"g": "6"})

		for _, field := range []string{"name", "parent", "kind", "created_at", "", "label.x"} {
			err := update(map[string]string{"g": "7"}, "labels.g", field)
			wantError(t, "update of "+field, err, errdefs.ErrInvalidArgument)
		}
		wantLabels(t, sn, "key", map[string]string{"g": "6"})
		must(t, update(nil))
		wantLabels(t, sn, "key", nil)
	})
}

// Row S8: whatever the bytes of a key are, it names one snapshot, and never a place on the disk.
func TestHostileKeys(t *testing.T) {
	eachDriver(t, func(t *testing.T, s *server, sn snapshots.Snapshotter) {
		keys := []string{
			strings.Repeat("k", 4096),
			strings.Repeat("k", 4095) + "l", // the same for a long way
			strings.Repeat("k", 511), strings.Repeat("k", 512),
			"../../../../tmp/x", "/etc/passwd", ".", "..", "/", "a//b", "-rf", " ", "\n", "a\nb\r\n",
			`"quoted"`, `'`, "`id`", "$(id)", `\`, `a\x00`, "%s%n", "%00", "a,b==c", "*",
			"ключ", "e\u0301", "\u00e9", "\u202e", "😀", "\x01\x7f", "\xff\xfe", "data.mdb",
		}
		for i, key := range keys {
			mounts, err := sn.Prepare(ctx, key, "", snapshots.WithLabels(map[string]string{"n": fmt.Sprint(i)}))
			if err != nil {
				t.Fatalf("preparing %q: %v", key, err)
			}
			if source := mounts[0].Source; mounts[0].Type == "bind" && !strings.HasPrefix(source, s.root()+"/") {
				t.Errorf("%q is at %s", key, source)
			}
		}
		for i, key := range keys {
			wantLabels(t, sn, key, map[string]string{"n": fmt.Sprint(i)})
			filter := "name==" + strconv.Quote(key)
			if got := matches(t, sn, filter); len(got) != 1 || got[0] != key {
				t.Errorf("%s matches %q", filter, got)
			}
		}
		if n := len(names(t, sn)); n != len(keys) {
			t.Errorf("%d keys are listed, want %d", n, len(keys))
		}
		// As names of committed ones and of parents.
		for i, key := range keys {
			must(t, sn.Commit(ctx, fmt.Sprint("#", i), key))
			prepare(t, sn, "again", fmt.Sprint("#", i))
			must(t, sn.Commit(ctx, key, "again"))
			prepare(t, sn, fmt.Sprint("child-", i), key)
			if got := matches(t, sn, "parent=="+strconv.Quote(key)); len(got) != 1 {
				t.Errorf("children of %q: %q", key, got)
			}
			err := sn.Remove(ctx, key)
			wantError(t, fmt.Sprintf("remove %q", key), err, errdefs.ErrFailedPrecondition)
		}
	})
}

// matches lists the names that filters select, sorted.
func matches(t *testing.T, sn snapshots.Snapshotter, fs ...string) []string {
	t.Helper()
	found := []string{}
	err := sn.Walk(ctx, func(_ context.Context, info snapshots.Info) error {
		found = append(found, info.Name)
		return nil
	}, fs...)
	if err != nil {
		t.Fatalf("filters %q: %v", fs, err)
	}
	sort.Strings(found)
	return found
}

// field presents a snapshot to containerd's filters as containerd's snapshotters do.
func field(info snapshots.Info) filters.AdapterFunc {
	return func(path []string) (string, bool) {
		switch path[0] {
		case "name":
			return info.Name, true
		case "parent":
			return info.Parent, true
		case "kind":
			return strings.ToLower(info.Kind.String()), true
		case "labels":
			v, ok := info.Labels[strings.Join(path[1:], ".")]
			return v, ok
		}
		return "", false
	}
}

// generator makes filters, most of them valid.
type generator struct{ *rand.Rand }

func (g generator) pick(list ...string) string { return list[g.Intn(len(list))] }

func (g generator) value() string {
	switch g.Intn(4) {
	case 0:
		return strconv.Quote(g.pick("", "a", "a b", "c,d", "é", "x\ny", `q"q`, "two words"))
	default:
		return g.pick("a", "b", "base", "base-2", "n-1", "n-12", "active", "view", "committed", "a.b/c", "1", "é", "a=b")
	}
}

func (g generator) regexp() string {
	atom := g.pick("a", "b", "n", "-", "1", ".", "[a-n]", "[^a]", "e", "(a|b)", "n-1", "é")
	re := g.pick("", "^") + atom + g.pick("", "*", "+", "?", "{1,2}") + g.pick("", "[0-9]", ".*") + g.pick("", "$")
	if strings.ContainsAny(re, "{,") || g.Intn(2) == 0 {
		return g.pick("/", "|", `"`) + re
	}
	return re
}

func (g generator) selector() string {
	path := g.pick("name", "parent", "kind", "labels.l", `labels."a.b/c"`, "labels.a", "labels.none",
		`labels."é"`, "labels", "other", `"name"`, `labels.a."b/c"`)
	switch g.Intn(4) {
	case 0:
		return path
	case 1:
		re := g.regexp()
		if quote := re[0]; quote == '/' || quote == '|' || quote == '"' {
			re += string(quote)
		}
		return path + "~=" + re
	default:
		return path + g.pick("==", "!=") + g.value()
	}
}

func (g generator) filter() string {
	selectors := []string{g.selector()}
	for g.Intn(3) == 0 {
		selectors = append(selectors, g.selector())
	}
	f := strings.Join(selectors, ",")
	if g.Intn(3) > 0 || strings.Contains(f, "~=") {
		return f
	}
	// Break it somewhere. Regular expressions are left out: what is wrong in one depends on the
	// dialect.
	const odd = ",.=!\"/|\\ ab1\t\n\x00\xff"
	for n := g.Intn(3) + 1; n > 0; n-- {
		at, c := g.Intn(len(f)+1), string(odd[g.Intn(len(odd))])
		f = f[:at] + c + f[at+g.Intn(len(f)+1-at)%2:]
	}
	return f
}

// population makes snapshots that differ in all that filters can see.
func population(t *testing.T, sn snapshots.Snapshotter, g generator) []snapshots.Info {
	t.Helper()
	commit(t, sn, "base", "", snapshots.WithLabels(map[string]string{"l": "base"}))
	commit(t, sn, "base-2", "base")
	for i := 0; i < 40; i++ {
		labels := map[string]string{}
		for n := g.Intn(4); n > 0; n-- {
			labels[g.pick("l", "a.b/c", "a", "é", "b")] = g.pick("a", "b", "a b", "c,d", "é", "x\ny", `q"q`, "1", "n-1")
		}
		make := sn.Prepare
		if g.Intn(2) == 0 {
			make = sn.View
		}
		_, err := make(ctx, g.pick("n-", "a b-", "é-", "N\"")+strconv.Itoa(i), g.pick("", "base", "base-2"), snapshots.WithLabels(labels))
		must(t, err)
	}
	var infos []snapshots.Info
	must(t, sn.Walk(ctx, func(_ context.Context, info snapshots.Info) error {
		infos = append(infos, info)
		return nil
	}))
	if len(infos) != 42 {
		t.Fatalf("%d snapshots, want 42", len(infos))
	}
	return infos
}

// Row S6: every filter selects what containerd's own filters package selects from the same
// snapshots, and what that refuses is refused. SEED repeats a run.
func TestFilters(t *testing.T) {
	seed := time.Now().UnixNano()
	if text := os.Getenv("SEED"); text != "" {
		var err error
		seed, err = strconv.ParseInt(text, 10, 64)
		must(t, err)
	}
	t.Logf("SEED=%d", seed)
	g := generator{rand.New(rand.NewSource(seed))}
	withServer(t, variants[2], func(t *testing.T, s *server, sn snapshots.Snapshotter) {
		infos := population(t, sn, g)
		invalid := 0
		for i := 0; i < 3000 && !t.Failed(); i++ {
			fs := []string{g.filter()}
			if g.Intn(4) == 0 {
				fs = append(fs, g.filter())
			}
			if !checkFilters(t, sn, infos, fs) {
				invalid++
			}
		}
		t.Logf("%d of 3000 were invalid", invalid)
		if !t.Failed() && (invalid < 100 || invalid > 2000) {
			t.Errorf("%d of 3000 filters were invalid: the test tells little", invalid)
		}
	})
}

// checkFilters tells whether the filters are valid.
func checkFilters(t *testing.T, sn snapshots.Snapshotter, infos []snapshots.Info, fs []string) bool {
	t.Helper()
	filter, err := filters.ParseAll(fs...)
	if err != nil {
		werr := sn.Walk(ctx, func(context.Context, snapshots.Info) error { return nil }, fs...)
		if peerPath == "" && !errdefs.IsInvalidArgument(werr) || werr == nil {
			t.Errorf("filters %q: %v, want: %v", fs, werr, err)
		}
		return false
	}
	want := []string{}
	for _, info := range infos {
		if filter.Match(field(info)) {
			want = append(want, info.Name)
		}
	}
	sort.Strings(want)
	if got := matches(t, sn, fs...); strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("filters %q: %q, want %q", fs, got, want)
	}
	return true
}
