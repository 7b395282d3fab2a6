// Package jinja renders the Jinja templates of evaluation tasks exactly as Jinja2 (3.1) does with the harness's settings: undefined names are
// errors, the last line feed stays, and values print as Python prints them. It knows the part of the language that task files use:
//
//	{{ expression }}, {# comment #}, {% raw %}, {% if %} {% elif %} {% else %}, {% for %} with if and else, {% set %}, white space control
//	literals of all kinds, + - * / // % ** ~, comparisons and in, and or not, x if y else z, calls of methods and range
//	methods of str, list and dict, filters and tests as listed in methods.go, filters.go and tests.go
//
// Everything else is refused by name when a template is parsed. The libraries for Go that there are were tried first: they print lists
// with other quotes than Python and let undefined names pass for empty text, either of which changes prompts silently.
package jinja
