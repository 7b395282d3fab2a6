// Package collectivetest holds any implementation of package collective to its contract.
//
//	func TestConformance(t *testing.T) { collectivetest.Run(t, open) }
//
// Every operation runs on 1 to 5 ranks, for every element type and for lengths that do not divide; results are compared bit by
// bit with loops that know nothing of ranks. Random programs mix operations, messages and waits. Ranks that fail, disagree or
// stop must not leave the others waiting.
package collectivetest
