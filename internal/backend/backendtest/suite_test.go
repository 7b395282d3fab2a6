package backendtest

import (
	"testing"

	"alfred/internal/backend"
	"alfred/internal/backend/reference"
)

func TestReference(t *testing.T) { Run(t, reference.New) }

func TestReferenceInvariance(t *testing.T) { RunInvariance(t, reference.New) }

func TestReferenceDeterminism(t *testing.T) {
	RunDeterminism(t, func(int) backend.Device { return reference.New() })
}
