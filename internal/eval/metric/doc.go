// Package metric makes numbers of what a model answered, as the Language Model Evaluation Harness (lm-eval 0.4.13) does: aggregations over
// documents and groups of tasks with their standard errors, and what a report says beside them: calibration, a comparison of two
// models, baselines. All functions are pure, on host numbers; logarithms are natural.
package metric
