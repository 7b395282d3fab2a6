package cpu

// Overhead is one packed copy of each matrix for the forward pass, and a second one for input gradients when it is trained.
// Panels are padded to whole widths, which does not matter for matrices of a size that matters.
func (d *Device) Overhead(matrices int, trained bool) int {
	if trained {
		return 2 * matrices
	}
	return matrices
}
