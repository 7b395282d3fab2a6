// Package task reads evaluation tasks in the YAML schema of the Language Model Evaluation Harness (lm-eval, version 0.4.13) and does what
// the harness does with them: documents become prompts and continuations, and what a model says of these becomes metrics of each document.
// Prompts are the harness's byte for byte; few-shot examples are drawn from the same random numbers.
//
// What a file asks for and is not supported is refused by name when the file is read. Python functions (!function module.name) never run:
// those that are known are written in Go, and a Python file counts as known by its SHA-256 alone.
package task
