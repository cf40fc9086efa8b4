"""Makes vectors.json with another implementation: TensorFlow's BERT in the library transformers.

    pip install 'tensorflow-cpu<2.20' tf-keras 'transformers<4.50'
    python3 make.py DIR >vectors.json

DIR is the folder of the encoder that `throughline text-setup` gets. The vectors are mean-pooled over the
tokens and scaled to length 1, as its modules.json says.
"""

import json
import os
import sys

os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_USE_LEGACY_KERAS": "1", "HF_HUB_OFFLINE": "1"}

import numpy
import tensorflow
import transformers

TEXTS = [
    "A great camera, but I was disappointed by the battery after two days.",
    "no",
    "The quick brown fox jumps over the lazy dog.",
    "Ünïcödé: naïve café, 東京 — and 🚀!",
    "it stopped working after a week . support was terrible , and nobody answered my mails : i would not buy anything "
    "from them again , whatever the price is and however good the reviews are .",
    "qwghlm",
]


def main() -> None:
    """Prints the ids and the vector of each text."""
    folder = sys.argv[1]
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.TFBertModel.from_pretrained(folder)
    texts = []
    for text in TEXTS:
        encoded = tokenizer(text, return_tensors="tf", truncation=True, max_length=256)
        mean = model(**encoded).last_hidden_state.numpy()[0].astype(numpy.float64).mean(axis=0)
        vector = [round(float(value), 7) for value in mean / numpy.linalg.norm(mean)]
        texts.append({"text": text, "ids": encoded["input_ids"].numpy()[0].tolist(), "vector": vector})
    made_by = f"transformers {transformers.__version__} TFBertModel, tensorflow {tensorflow.__version__}"
    json.dump({"made_by": made_by, "texts": texts}, sys.stdout, ensure_ascii=False)


if __name__ == "__main__":
    main()
