package falcon

import (
	"math"

	"alfred/internal/tensor"
)

// RotaryTables are the cosines and sines of rotary position embedding, [positions HeadDim/2] each: the angle of position p
// and pair j is p·theta^(-2j/HeadDim). As in transformers, angles and tables are float32 whatever the model's precision.
func RotaryTables(cfg Config, positions int) (cos, sin []float64) {
	half := cfg.HeadDim / 2
	inverse := make([]float32, half)
	for j := range inverse {
		inverse[j] = 1 / float32(math.Pow(cfg.RopeTheta, float64(float32(2*j)/float32(cfg.HeadDim))))
	}
	cos, sin = make([]float64, positions*half), make([]float64, positions*half)
	for p := range positions {
		for j, f := range inverse {
			angle := float64(float32(p) * f)
			cos[p*half+j] = float64(float32(math.Cos(angle)))
			sin[p*half+j] = float64(float32(math.Sin(angle)))
		}
	}
	return cos, sin
}

// AlibiSlopes are the slopes of Press et al. (arXiv:2108.12409) for any number of heads: 2^(-8i/n) for a power of two n;
// otherwise those of the power of two below, then every other one of the power of two above.
func AlibiSlopes(heads int) []float64 {
	below := 1 << int(math.Log2(float64(heads)))
	slopes := make([]float64, 0, heads)
	for i := 1; i <= below; i++ {
		slopes = append(slopes, math.Exp2(-8*float64(i)/float64(below)))
	}
	for i := 1; len(slopes) < heads; i += 2 {
		slopes = append(slopes, math.Exp2(-4*float64(i)/float64(below)))
	}
	return slopes
}

// AlibiTable is the bias of each head and key position, [heads positions], that attention adds to its scores before scaling
// them. Falcon computes slope, position and product in bfloat16 even in a float32 model.
func AlibiTable(heads, positions int) []float64 {
	table := make([]float64, heads*positions)
	for h, slope := range AlibiSlopes(heads) {
		for p := range positions {
			table[h*positions+p] = bfloat16(bfloat16(slope) * bfloat16(float64(p)))
		}
	}
	return table
}

func bfloat16(x float64) float64 {
	return float64(tensor.FromBFloat16(tensor.ToBFloat16(float32(x))))
}
