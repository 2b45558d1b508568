"""How photons get from the tracer to the counts: cameras, attenuation, response, scatter."""
