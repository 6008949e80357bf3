"""Plain Flask, for gunicorn's threads: `gunicorn --threads 8 plain_flask:app`."""

from flask import Flask, jsonify, request

import model

app = Flask(__name__)


@app.post("/predict")
def predict():
    """Answer one image, sent as the body."""
    return jsonify(model.predict(model.decode(request.get_data())[None])[0])
