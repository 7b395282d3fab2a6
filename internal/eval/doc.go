// Package eval evaluates language models on tasks of the Language Model Evaluation Harness: it asks a Model the tasks' requests, judges the
// answers, and gives results in the harness's own form (version 0.4.13).
//
// What a model has answered is kept in a cache on disk, so that an evaluation that was stopped goes on where it was. Prompts are made anew
// each time, as the random numbers of few-shot examples must advance document by document.
package eval
