package example;

import java.io.BufferedReader;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import legion.gjpi.LegionModel;

/** The quality of a white wine, by a linear model whose numbers lie beside this class in weights.csv. */
public final class WineModel implements LegionModel {
    private final List<String> names = new ArrayList<>();
    private final List<String> examples = new ArrayList<>();
    private double[] weights;
    private double intercept;

    @Override
    public String init() throws IOException {
        List<Double> found = new ArrayList<>();
        try (InputStream resource = WineModel.class.getResourceAsStream("weights.csv")) {
            if (resource == null) {
                throw new FileNotFoundException("weights.csv is not in the JAR");
            }
            BufferedReader lines = new BufferedReader(new InputStreamReader(resource, StandardCharsets.UTF_8));
            for (String line = lines.readLine(); line != null; line = lines.readLine()) {
                String[] cells = line.split(",");
                if (cells[0].equals("intercept")) {
                    intercept = Double.parseDouble(cells[1]);
                } else {
                    names.add(cells[0]);
                    found.add(Double.parseDouble(cells[1]));
                    examples.add(cells[2]);
                }
            }
        }
        weights = found.stream().mapToDouble(Double::doubleValue).toArray();
        return "matrix";
    }

    @Override
    public Matrix predictOnMatrix(Matrix input) {
        double[] quality = new double[input.rows];
        for (int row = 0; row < input.rows; row++) {
            double sum = intercept;
            for (int column = 0; column < weights.length; column++) {
                sum += weights[column] * input.values[row * weights.length + column];
            }
            quality[row] = sum;
        }
        return new Matrix(quality, input.rows, "quality");
    }

    @Override
    public String getInfo() {
        List<String> inputs = new ArrayList<>();
        for (int column = 0; column < names.size(); column++) {
            inputs.add("{\"name\": \"" + names.get(column) + "\", \"type\": \"double\", \"example\": "
                    + examples.get(column) + "}");
        }
        return "{\"inputs\": [" + String.join(", ", inputs) + "],"
                + " \"outputs\": [{\"name\": \"quality\", \"type\": \"double\"}]}";
    }
}
