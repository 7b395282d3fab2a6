package config

// Source is one entry of `data`: a data set, and how it is drawn and rendered.
// Path is as written, to be read relative to Config.DataRoot.
type Source struct {
	Source    string   `yaml:"source" required:"always" oneof:"oasst1 hh-rlhf dolly natinst prompts pairs" doc:"format of the data; prompts: lines {\"prompt\"} or {\"prompt_ids\"}; pairs: lines {\"prompt\", \"chosen\", \"rejected\"}"`
	Path      string   `yaml:"path" required:"always" resume:"path" doc:"file, folder or glob below data_root; plain, gz or zstd"`
	Weight    float64  `yaml:"weight" default:"1.0" range:"[0,)" unit:"share" doc:"share of draws relative to the other sources, whatever the size of the source; 0 switches it off"`
	Render    string   `yaml:"render" derived:"oasst1 and hh-rlhf chat, dolly instruction, natinst few_shot; prompts and pairs: none, the text stands as it is" oneof:"chat instruction few_shot" doc:"template that turns a record into text"`
	Shots     int      `yaml:"shots" derived:"2 with few_shot" range:"[0,)" zero:"omit" unit:"examples" doc:"few_shot: positive examples shown, the first ones of the task in file order" from:"Tk-Instruct"`
	Template  string   `yaml:"template" resume:"path" doc:"text file, relative to data_root, used instead of the built-in template of render"`
	Use       string   `yaml:"use" stage:"sft" only:"hh-rlhf pairs" oneof:"chosen" doc:"must say chosen for hh-rlhf and pairs, whose chosen answers were collected to be compared, not imitated"`
	OnBad     string   `yaml:"on_bad" default:"skip" oneof:"skip stop" doc:"malformed rows: skip and count (more than 1 % of them stops the run, exit code 3), or stop at the first"`
	Languages []string `yaml:"languages" only:"oasst1 natinst" doc:"keep only records in these languages, named as the data names them (en, English); when absent, oasst1 keeps en, fr, de, es and it (the card's), natinst everything; [\"*\"] keeps all"`
}
