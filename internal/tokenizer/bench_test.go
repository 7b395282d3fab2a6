package tokenizer

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// corpus gives 1.1 MB of Shakespeare, where the data folder has it.
func corpus(t testing.TB) string {
	t.Helper()
	text, err := os.ReadFile("../../../shared/data/text/tinyshakespeare.txt")
	if err != nil {
		t.Skipf("no corpus: %v", err)
	}
	return string(text)
}

func benchmarkEncode(b *testing.B, tok *Tokenizer, text string) {
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	var ids []int32
	for b.Loop() {
		ids = tok.AppendEncode(ids[:0], text)
	}
	b.ReportMetric(float64(len(ids)), "tokens")
}

// Warm: words come from the cache.
func BenchmarkEncodeFalcon(b *testing.B) { benchmarkEncode(b, loadFalcon(b), corpus(b)) }

func BenchmarkEncodeSmall(b *testing.B) { benchmarkEncode(b, loadSmall(b), corpus(b)) }

// Cold: the cache is empty at the start of each pass over the text.
func BenchmarkEncodeFalconCold(b *testing.B) {
	tok, text := loadFalcon(b), corpus(b)
	b.SetBytes(int64(len(text)))
	var ids []int32
	for b.Loop() {
		tok.cache = newWordCache()
		ids = tok.AppendEncode(ids[:0], text)
	}
}

// Numbers that never come twice: every word is a miss and goes through Digits and Split.
func BenchmarkEncodeFalconDigits(b *testing.B) {
	var text strings.Builder
	for x := uint64(1); text.Len() < 1<<20; x = x*6364136223846793005 + 1442695040888963407 {
		text.WriteString(" 0x")
		for y := x; y > 0; y /= 10 {
			text.WriteByte('0' + byte(y%10))
		}
	}
	benchmarkEncode(b, loadFalcon(b), text.String())
}

// One word of a million letters.
func BenchmarkEncodeFalconLongWord(b *testing.B) {
	benchmarkEncode(b, loadFalcon(b), strings.Repeat("a", 1<<20))
}

func BenchmarkDecodeFalcon(b *testing.B) {
	tok, text := loadFalcon(b), corpus(b)
	ids := tok.Encode(text)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		tok.Decode(ids)
	}
}

func BenchmarkLoadFalcon(b *testing.B) {
	loadFalcon(b)
	for b.Loop() {
		if _, err := Load(filepath.Join(falconDir, "tokenizer.json")); err != nil {
			b.Fatal(err)
		}
	}
}

// cpuTime gives the processor time of the process so far: unlike the clock it does not count what
// other programs on the machine do.
func cpuTime(t testing.TB) time.Duration {
	t.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		t.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// A word of n letters must not cost n^2: looking at all pairs for each merge would take an hour here.
func TestLongWordsAreNotQuadratic(t *testing.T) {
	toks := map[string]*Tokenizer{"small": loadSmall(t)}
	if _, err := os.Stat(falconDir); err == nil {
		toks["falcon"] = loadFalcon(t)
	}
	for name, tok := range toks {
		for _, unit := range []string{"a", " ", "!", "1", "ab", "\u00e9", "\n"} {
			text := strings.Repeat(unit, 1<<20/len(unit)/slowdown)
			start := cpuTime(t)
			ids := tok.Encode(text)
			if elapsed := cpuTime(t) - start; elapsed > 2*time.Second {
				t.Errorf("%s: %d bytes of %q took %v", name, len(text), unit, elapsed)
			}
			if got := string(tok.DecodeBytes(ids)); got != text {
				t.Errorf("%s: %d bytes of %q came back changed", name, len(text), unit)
			}
		}
	}
}

// Speed on one core, cold: every word is encoded at least once. An idle machine gives 35 MB/s; the
// limit leaves room for a slow and busy one, and still catches an accident such as O(n^2).
func TestEncodeIsFast(t *testing.T) {
	tok, text := loadFalcon(t), corpus(t)
	best := time.Hour
	for range 5 {
		tok.cache = newWordCache()
		start := cpuTime(t)
		tok.Encode(text)
		best = min(best, cpuTime(t)-start)
	}
	rate := float64(len(text)) / best.Seconds() / 1e6
	if rate*slowdown < 5 {
		t.Errorf("%.1f MB/s, want at least 5", rate)
	}
	t.Logf("%.1f MB/s", rate)
}

func TestLoadIsFast(t *testing.T) {
	loadFalcon(t)
	best := time.Hour
	for range 5 {
		start := cpuTime(t)
		loadFalcon(t)
		best = min(best, cpuTime(t)-start)
	}
	if best > slowdown*200*time.Millisecond {
		t.Errorf("loading the Falcon tokenizer takes %v, want at most 200 ms", best)
	}
	t.Logf("%v", best)
}
