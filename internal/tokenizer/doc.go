// Package tokenizer turns text into token ids and back, as a Hugging Face tokenizer.json says.
//
// It covers the byte-level BPE files of the Falcon and GPT-2 families and gives the ids of the
// official tokenizers library (Rust, 0.23) for them. Every other component type, and every setting
// whose meaning is not covered, is refused by name when the file is read; nothing is guessed.
//
// # From text to ids
//
//  1. Added tokens are cut out of the text (EncodeSpecial), or only those that are not special
//     (Encode). Encode never returns the id of a special token, whatever the text holds, so it is
//     the one to use for content that somebody else wrote.
//  2. Pre-tokenizers cut the rest into pieces: Punctuation, Digits and Split look at characters;
//     ByteLevel cuts words with the GPT-2 pattern and replaces each byte by one of 256 printable
//     characters. What follows ByteLevel in a Sequence looks at those characters, not at the text:
//     the byte BD, the second of U+00BD, is the character U+00BD there, which is numeric, and so
//     Digits cuts it off.
//  3. BPE merges the byte symbols of each piece, lowest rank first, then leftmost.
//
// Character classes are those of the official library, which mixes three editions of Unicode
// (letters, numbers and spaces of the GPT-2 pattern; numeric for Digits; punctuation). They are
// kept in a generated table, so ids do not change with the Go release.
//
// # Bytes
//
// A byte whose symbol is missing from the vocabulary has no id (there is no unknown token): it is
// left out, as the official library does, and Dropped counts it. Falcon's vocabulary lacks 28 byte
// symbols, among them control characters such as U+000B. Text that is not valid UTF-8 is encoded
// byte by byte as it is; an invalid byte counts as one character that is no letter, number, space
// or punctuation. DecodeBytes gives the bytes back exactly. Decode replaces what is not UTF-8 by
// U+FFFD, one for each maximal ill-formed part, as the official decoder and the Unicode standard
// (section 3.9, substitution of maximal subparts) do.
package tokenizer
