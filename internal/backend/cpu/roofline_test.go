package cpu

import "testing"

// What the best kernels and those in Go find is positive, and wider units are not slower.
func TestRoofline(t *testing.T) {
	names := InstructionSets()
	var found []Roofline
	for _, isa := range []string{names[0], names[len(names)-1]} {
		d, err := NewWith(Options{Workers: 1, ISA: isa})
		if err != nil {
			t.Fatal(err)
		}
		r, err := d.Roofline()
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %.1f GFLOP/s float32, %.1f bfloat16, reads %.1f GB/s, copies %.1f", isa, r.Float32/1e9, r.BFloat16/1e9, r.Read/1e9, r.Copy/1e9)
		if !(r.Float32 > 0 && r.BFloat16 > 0 && r.Read > 0 && r.Copy > 0) {
			t.Errorf("%s: %+v", isa, r)
		}
		found = append(found, r)
	}
	if names[0] != "go" && found[0].Float32 < found[1].Float32 {
		t.Errorf("%s multiplies and adds at %g FLOP/s, Go at %g", names[0], found[0].Float32, found[1].Float32)
	}
}
