// Package backendtest holds any backend against the reference.
//
//	func TestConformance(t *testing.T) { backendtest.Run(t, open) }              // every operation against float64
//	func TestInvariance(t *testing.T)  { backendtest.RunInvariance(t, open) }    // a row's bits do not depend on its batch
//	func TestDeterminism(t *testing.T) { backendtest.RunDeterminism(t, openN) }  // nor any bits on the number of workers
//
// A test case is an operation with random operands on the device under test and, rounded alike, on the reference. The same
// cases serve all three questions, so that an operation is added in one place.
//
// Deferring wraps a device so that nothing happens before the host waits for it, and memory that is read too early is
// poisoned: programs that forget to wait fail on it, whatever the timing of the machine.
package backendtest
