// Package safetensors reads and writes weights in the safetensors format: single files (Open, Create) and Hugging
// Face model directories with one file or several (OpenModel, WriteModel).
//
// A file is an 8-byte little-endian length, a JSON header of that length, and the tensors' bytes. Header and data are
// untrusted: Open checks the header completely before it returns, so that every Entry names bytes that exist, and
// reports what is wrong with the name of the tensor. Beyond the format's own limit of 100,000,000 header bytes it
// refuses what no model has (see the limits in header.go), which bounds time and memory on hostile files.
//
// Parts of tensors are read without copying the rest: Entry.Read for bytes, Entry.Float32 and Entry.Float64 for
// numbers, each for a range of rows and a range of columns. They read through the file descriptor: a damaged disk or
// a file cut short meanwhile is an error, and memory holds one copy of what was asked for. Entry.Data gives the bytes
// in place, through a memory map.
//
// Pickle files (.bin, .pt, .pth, .ckpt) are never read: loading one runs code that the file contains.
//
// The format: https://github.com/huggingface/safetensors, README, section "Format".
package safetensors
