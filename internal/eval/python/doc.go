// Package python is the part of Python that results of the Language Model Evaluation Harness depend on: its values and how they
// print, literals, random numbers, and what its string methods count as a space or a digit. Nothing here runs Python.
//
// A value is one of nil, bool, int64, float64, string, []any (a list), Tuple and *Dict.
package python
