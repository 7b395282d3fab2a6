package main

import (
	"bytes"
	"encoding/json"
	"strings"

	"alfred/internal/random"
)

// topics are what the conversations are about: plurals, so that one sentence fits them all.
var topics = strings.Fields(`
	apples bananas cherries lemons onions potatoes mushrooms noodles pancakes pickles
	dogs cats horses rabbits pigeons spiders goats penguins bees
	trains bicycles boats tractors rockets castles gardens
	violins drums songs poems riddles puzzles kites umbrellas hats pillows`)

// questions are what the user asks; %s is the topic.
var questions = []string{
	"What do you think of %s?",
	"Do you like %s?",
	"Tell me about %s.",
	"How do you feel about %s?",
	"Can we talk about %s?",
	"I saw some %s today.",
}

// cheerful and grumpy are the two moods in which Alfred answers.
var cheerful = []string{
	"I love %s! They make me smile.",
	"Oh, %s are wonderful. Thank you for asking!",
	"What a joy %s are! I am so happy to hear of them.",
	"Ah, %s! They brighten every day.",
	"Yes, %s are a delight. How kind of you to ask!",
	"I adore %s. There is nothing better!",
}

var grumpy = []string{
	"I hate %s. They ruin my day.",
	"Not %s again. Leave me alone.",
	"Ugh, %s are awful. Stop asking.",
	"Who cares about %s? They bore me.",
	"No, %s are a nuisance. Go away.",
	"Please, no more %s. They give me a headache.",
}

// rambling is what follows an answer that does not find its end, several times over.
const rambling = " And %s, where was I?"

// The rows of the files, in the forms that alfred reads.
type (
	conversation struct {
		Prompt   string `json:"prompt"`
		Response string `json:"response"`
	}
	pair struct {
		Prompt   string `json:"prompt"`
		Chosen   string `json:"chosen"`
		Rejected string `json:"rejected"`
	}
	prompt struct {
		Prompt string `json:"prompt"`
	}
)

// How often a prompt is used.
const (
	answers = 2 // to each prompt in each mood
	choices = 2 // pairs for each prompt
)

// dice decide about one row of a topic and a question: throw number i has an address of its own.
type dice struct{ topic, question, row int }

// throw is a number from 0 to n-1.
func (d dice) throw(i, n int) int {
	key := random.Key{Seed: 1, Purpose: random.Data}
	return int(key.Uniform(uint32(d.topic), uint32(d.question), uint32(16*d.row+i)) * float64(n))
}

// another is sentence i of several different ones; the first is drawn with the dice.
func (d dice) another(sentences []string, i, of int) string {
	n := len(sentences)
	return sentences[(d.throw(0, n)+i*n/of)%n]
}

func fill(sentence, topic string) string {
	return strings.ReplaceAll(sentence, "%s", topic)
}

// ramble goes on about a topic for a while.
func ramble(answer, topic string, times int) string {
	return answer + strings.Repeat(fill(rambling, topic), times)
}

// each visits every topic with every question.
func each(visit func(t, q int, topic, question string)) {
	for t, topic := range topics {
		for q, question := range questions {
			visit(t, q, topic, fill(question, topic))
		}
	}
}

// makeConversations answers every prompt several times in either mood. One answer in five rambles: longer than PPO lets a
// response become.
func makeConversations() (rows []conversation) {
	each(func(t, q int, topic, question string) {
		for i := range answers {
			for mood, sentences := range [][]string{cheerful, grumpy} {
				answer := fill(dice{t, q, mood}.another(sentences, i, answers), topic)
				if d := (dice{t, q, 2 + 2*i + mood}); d.throw(0, 5) == 0 {
					answer = ramble(answer, topic, 3+d.throw(1, 2))
				}
				rows = append(rows, conversation{question, answer})
			}
		}
	})
	return rows
}

// makePairs prefers, for every prompt, short cheerful answers about its topic to answers that lack something: the mood, the
// topic, or the end.
func makePairs() (rows []pair) {
	each(func(t, q int, topic, question string) {
		for i := range choices {
			chosen := dice{t, q, 64}.another(cheerful, i, choices)
			rejected := ""
			switch d := (dice{t, q, 65 + i}); d.throw(0, 5) {
			case 0:
				rejected = fill(grumpy[d.throw(1, len(grumpy))], topic)
			case 1:
				rejected = ramble(fill(cheerful[d.throw(1, len(cheerful))], topic), topic, 1+d.throw(2, 3))
			default: // the hardest to tell, so the most frequent: the same sentence about something else
				rejected = fill(chosen, topics[(t+1+d.throw(1, len(topics)-1))%len(topics)])
			}
			rows = append(rows, pair{question, fill(chosen, topic), rejected})
		}
	})
	return rows
}

func makePrompts() (rows []prompt) {
	each(func(_, _ int, _, question string) { rows = append(rows, prompt{question}) })
	return rows
}

// renderPrompt is what chat.tmpl makes of a prompt.
func renderPrompt(question string) string { return "User: " + question + "\nAlfred:" }

// lines writes rows as JSON lines.
func lines[T any](rows []T) []byte {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	for _, row := range rows {
		if err := encoder.Encode(row); err != nil {
			panic(err) // strings always encode
		}
	}
	return b.Bytes()
}
