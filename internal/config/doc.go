// Package config reads the YAML file that describes a run.
//
// One type, Config, serves the three stages; the key `stage` decides which of
// its keys a file may use. Everything known about a key (its name, default,
// range, unit, meaning and source, and what a resumed run may do to it) stands
// in the struct tags beside the field, and nowhere else: the decoder, the JSON
// schema and configs/README.md are all made from them.
//
//	yaml      name of the key
//	stage     stages that know the key; all when absent
//	only      values of the struct's first key that go with this one; all when absent
//	default   YAML literal, or a flow mapping {ppo: x, sft: y, reward: z}
//	derived   default that follows from other keys, in words (computed in derive)
//	range     interval of accepted numbers, as in mathematics: [0,1), (0,), [1,)
//	oneof     accepted words
//	required  stages that cannot do without the key, or "always"
//	zero      "omit": a zero means "not given" and is left out of the effective file
//	resume    "free": a resumed run may change it; "path": it may, if the content is the same
//	unit, doc, from: unit, meaning and source, for people
//
// Loading is strict. Unknown keys, wrong types, values out of range and keys
// that contradict each other are all reported, in one *Errors, each with its
// place in the file. The package holds no behaviour of a run.
package config
