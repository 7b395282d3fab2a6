// Package python is the part of Python that results of the Language Model Evaluation Harness depend on: its values and how they
// print, literals, regular expressions, random numbers, and what its string methods make of a text. Nothing here runs Python.
//
// Where versions differ it is Python 3.11, which knows Unicode 14.
//
// A value is one of nil, bool, int64, float64, string, []any (a list), Tuple and *Dict.
package python
