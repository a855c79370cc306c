"""Text by language: codes and names, running text, parallel text, labelled text, words."""
