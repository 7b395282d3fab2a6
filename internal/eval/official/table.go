package official

import (
	"path"
	"slices"
)

// Datasets are the sets that this package reads. Each split names its files in every layout that is met: the official archive's,
// with its folder, and the same names in a folder that is called after the set.
func Datasets() []Dataset {
	return slices.Concat(science(), commonSense(), superGLUE(), paraphrases(), reasoning(), inference(), reading(), medicine())
}

// set is one dataset in the table.
func set(path, config string, splits ...split) Dataset { return Dataset{path, config, splits} }

// from is the forms of a split: every group of files, in every folder. A group is a file and its partners.
func from(folders []string, groups ...[]string) []form {
	var forms []form
	for _, folder := range folders {
		for _, group := range groups {
			f := form{}
			for _, name := range group {
				f = append(f, path.Join(folder, name))
			}
			forms = append(forms, f)
		}
	}
	return forms
}

func with(names ...string) []string { return names }

// threeSplits is the common case: a folder with one file per split, read in one way.
func threeSplits(read reader, folders []string, train, validation, test string) []split {
	return []split{
		{name: "train", forms: from(folders, with(train)), read: read},
		{name: "validation", forms: from(folders, with(validation)), read: read},
		{name: "test", forms: from(folders, with(test)), read: read},
	}
}

// withheld marks the test split as one without answers.
func withheld(splits []split) []split {
	splits[len(splits)-1].hidden = true
	return splits
}

func science() []Dataset {
	var sets []Dataset
	for _, config := range []string{"ARC-Easy", "ARC-Challenge"} {
		sets = append(sets, set("allenai/ai2_arc", config, threeSplits(jsonLines(arcRow),
			[]string{"arc", "ai2_arc", config, "ARC-V1-Feb2018-2/" + config},
			config+"-Train.jsonl", config+"-Dev.jsonl", config+"-Test.jsonl")...))
	}
	return append(sets,
		set("allenai/openbookqa", "main", threeSplits(jsonLines(openBookRow),
			[]string{"openbookqa", "OpenBookQA-V1-Sep2018/Data/Main"}, "train.jsonl", "dev.jsonl", "test.jsonl")...),
		set("allenai/sciq", "", threeSplits(jsonArray(sciQRow),
			[]string{"sciq", "SciQ dataset-2 3"}, "train.json", "valid.json", "test.json")...))
}

func commonSense() []Dataset {
	piqaFolders := []string{"piqa", "physicaliqa-train-dev"}
	return []Dataset{
		set("baber/piqa", "",
			split{name: "train", read: piqa, forms: from(piqaFolders, with("train.jsonl", "train-labels.lst"))},
			split{name: "validation", read: piqa, forms: from(piqaFolders, with("valid.jsonl", "valid-labels.lst"), with("dev.jsonl", "dev-labels.lst"))},
			split{name: "test", read: piqa, hidden: true, forms: from(piqaFolders, with("tests.jsonl"))}),
		// The sizes of WinoGrande differ in their training set only; the harness uses the largest.
		set("allenai/winogrande", "winogrande_xl", withheld(threeSplits(jsonLines(winograndeRow),
			[]string{"winogrande", "winogrande_1.1"}, "train_xl.jsonl", "dev.jsonl", "test.jsonl"))...),
		set("Rowan/hellaswag", "", withheld(threeSplits(jsonLines(hellaSwagRow),
			[]string{"hellaswag", "hellaswag/data"}, "hellaswag_train.jsonl", "hellaswag_val.jsonl", "hellaswag_test.jsonl"))...),
		set("corypaik/prost", "",
			split{name: "test", read: jsonLines(prostRow), forms: from([]string{"prost", "prost/data"}, with("test.jsonl"), with("default.jsonl"))}),
	}
}

func superGLUE() []Dataset {
	var sets []Dataset
	for _, s := range []struct {
		config, name string
		row          reader
	}{
		{"boolq", "BoolQ", jsonLines(boolQRow)}, {"cb", "CB", jsonLines(cbRow)}, {"copa", "COPA", jsonLines(copaRow)},
		{"rte", "RTE", jsonLines(rteRow)}, {"wic", "WiC", jsonLines(wicRow)},
	} {
		var splits []split
		for _, file := range []struct{ split, name string }{{"train", "train.jsonl"}, {"validation", "val.jsonl"}, {"test", "test.jsonl"}} {
			splits = append(splits, split{name: file.split, read: s.row, forms: slices.Concat(
				from([]string{s.name, "superglue/" + s.name, "super_glue/" + s.name}, with(file.name)),
				from([]string{"superglue"}, with(s.name+"-"+file.name)))})
		}
		sets = append(sets, set("aps/super_glue", s.config, withheld(splits)...))
	}
	return sets
}

func paraphrases() []Dataset {
	mrpcFolders := []string{"mrpc", "MRPC"}
	train := from(mrpcFolders, with("msr_paraphrase_train.txt", "mrpc_dev_ids.tsv"))
	sets := []Dataset{
		set("nyu-mll/glue", "mrpc",
			split{name: "train", read: mrpcDev(false), forms: train},
			split{name: "validation", read: mrpcDev(true), forms: train},
			split{name: "test", read: mrpc, forms: from(mrpcFolders, with("msr_paraphrase_test.txt"))}),
		set("nyu-mll/glue", "qqp", withheld(threeSplits(qqp, []string{"qqp", "QQP"}, "train.tsv", "dev.tsv", "test.tsv"))...),
		set("google-research-datasets/paws", "labeled_final", threeSplits(paws, []string{"paws", "final"}, "train.tsv", "dev.tsv", "test.tsv")...),
	}
	for _, language := range []string{"en", "de", "es", "fr", "ja", "ko", "zh"} {
		train := "translated_train.tsv"
		if language == "en" {
			train = "train.tsv"
		}
		sets = append(sets, set("google-research-datasets/paws-x", language, threeSplits(paws,
			[]string{"paws-x/" + language, "x-final/" + language}, train, "dev_2k.tsv", "test_2k.tsv")...))
	}
	return sets
}

func reasoning() []Dataset {
	sets := []Dataset{
		set("EleutherAI/logiqa", "logiqa", threeSplits(logiQA, []string{"logiqa", "LogiQA-dataset"}, "Train.txt", "Eval.txt", "Test.txt")...),
		set("regisss/math_qa", "", threeSplits(jsonArray(mathQARow), []string{"mathqa", "MathQA"}, "train.json", "dev.json", "test.json")...),
		set("mosaicml/llm-foundry", "math_qa",
			split{name: "test", read: jsonLines(foundryRow), forms: from([]string{"mathqa"}, with("llm_foundry_math_qa.jsonl"))}),
	}
	for _, task := range []string{
		"single_digit_three_ops", "two_digit_addition", "two_digit_subtraction", "two_digit_multiplication", "three_digit_addition",
		"three_digit_subtraction", "four_digit_addition", "four_digit_subtraction", "five_digit_addition", "five_digit_subtraction",
	} {
		sets = append(sets, set("EleutherAI/arithmetic", task,
			split{name: "validation", read: jsonLines(arithmeticRow), forms: from([]string{"arithmetic", "gpt-3/data"}, with(task+".jsonl"))}))
	}
	return sets
}

func inference() []Dataset {
	var splits []split
	for _, round := range []struct{ suffix, folder string }{{"_r1", "R1"}, {"_r2", "R2"}, {"_r3", "R3"}} {
		for _, name := range []string{"train", "dev", "test"} {
			splits = append(splits, split{name: name + round.suffix, read: jsonLines(anliRow), forms: from(
				[]string{"anli/" + round.folder, "anli_v0.1/" + round.folder, "anli_v1.0/" + round.folder}, with(name+".jsonl"))})
		}
	}
	return []Dataset{set("facebook/anli", "", splits...)}
}

func reading() []Dataset {
	var sets []Dataset
	for _, level := range []string{"high", "middle"} {
		sets = append(sets, set("EleutherAI/race", level,
			split{name: "train", read: race, forms: from([]string{"race", "RACE"}, with("train/"+level+"/*.txt"))},
			split{name: "validation", read: race, forms: from([]string{"race", "RACE"}, with("dev/"+level+"/*.txt"))},
			split{name: "test", read: race, forms: from([]string{"race", "RACE"}, with("test/"+level+"/*.txt"))}))
	}
	gold := func(config, name string) {
		// The gold standards are the whole of a set, which the hub calls train.
		sets = append(sets, set("community-datasets/qa4mre", config,
			split{name: "train", read: qa4mre, forms: from([]string{"qa4mre"}, with(name), with(config+".xml"))}))
	}
	for _, year := range []struct {
		name      string
		languages []string
	}{
		{"2011", []string{"EN", "DE", "ES", "IT", "RO"}},
		{"2012", []string{"EN", "AR", "BG", "DE", "ES", "IT", "RO"}},
		{"2013", []string{"EN", "AR", "BG", "ES", "RO"}},
	} {
		for _, language := range year.languages {
			gold(year.name+".main."+language, "QA4MRE-"+year.name+"-"+language+"_GS.xml")
		}
	}
	gold("2012.alzheimers.EN", "QA4MRE-2012_BIOMEDICAL_GS.xml")
	gold("2013.alzheimers.EN", "QA4MRE-2013_BIO_GS-RUN.xml")
	gold("2013.entrance_exam.EN", "qa4mre-exam-test-withanswer.xml")
	return sets
}

func medicine() []Dataset {
	var sets []Dataset
	for _, language := range []struct{ config, folder string }{{"en", "HEAD_EN"}, {"es", "HEAD"}} {
		sets = append(sets, set("EleutherAI/headqa", language.config, threeSplits(headQA, []string{"headqa", language.folder},
			"train_"+language.folder+".json", "dev_"+language.folder+".json", "test_"+language.folder+".json")...))
	}
	folders := []string{"pubmedqa", "pubmedqa/data"}
	return append(sets, set("bigbio/pubmed_qa", "pubmed_qa_labeled_fold0_source",
		split{name: "train", read: pubMedQA, forms: from(folders, with("pqal_fold0/train_set.json"))},
		split{name: "validation", read: pubMedQA, forms: from(folders, with("pqal_fold0/dev_set.json"))},
		split{name: "test", read: pubMedQATest, forms: from(folders, with("ori_pqal.json", "test_ground_truth.json"), with("pqal_test_set.json"))}))
}
